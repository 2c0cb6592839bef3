import Domain
import Logging
import Synchronization

/// The number a tenant's name stands for in every row.
struct TenantKey: RawRepresentable, Hashable {
  let rawValue: Int32
}

extension Statement {
  fileprivate static let tenantKey = Statement("tenant_key", PackageResources.tenant_key_sql)
  fileprivate static let addTenant = Statement("tenant_add", PackageResources.tenant_add_sql)
  fileprivate static let ping = Statement("ping", "SELECT 1")
  fileprivate static let ensurePartition = Statement("partition_ensure", PackageResources.partition_ensure_sql)
}

/// What every row rests on: the tenants' numbers and the partitions. Owns one connection, as the
/// tables' owner, and remembers what it has seen: both only ever grow.
final class Catalog: Sendable {
  private struct Known {
    var tenants: [Tenant: TenantKey] = [:]
    /// Days, as counted from 1970, whose partition is there.
    var days: Set<Int64> = []
    /// Calls that wait for their tenant's number.
    var waitingCount = 0
  }

  private let connection: PostgresConnection
  private let known = Mutex(Known())

  init(_ connection: PostgresConnection) {
    self.connection = connection
  }

  /// The tenant's number, or nil for a tenant that has never recorded anything.
  func key(of tenant: Tenant) async throws(RPCError) -> TenantKey? {
    try await key(of: tenant, adding: false)
  }

  /// The tenant's number, given now if it has none.
  func keyForRecording(of tenant: Tenant) async throws(RPCError) -> TenantKey {
    try await key(of: tenant, adding: true)!
  }

  /// The tenant's number, where it was asked for before.
  func knownKey(of tenant: Tenant) -> TenantKey? { known.withLock { $0.tenants[tenant] } }

  private func key(of tenant: Tenant, adding: Bool) async throws(RPCError) -> TenantKey? {
    if let key = knownKey(of: tenant) { return key }
    let mayWait = known.withLock { known in
      guard known.waitingCount < Limits.tenantLookupsWaitingMax else { return false }
      known.waitingCount += 1
      return true
    }
    guard mayWait else { throw .overloaded("too many calls wait for their tenant to be looked up") }
    defer { known.withLock { $0.waitingCount -= 1 } }
    let name = tenant.description
    let found: Result<TenantKey?, PostgresError> = await connection.runRepeatable {
      (connection) throws(PostgresError) in
      let select = Command(.tenantKey) { $0.add(name) }
      // Looked up first: a conflicting INSERT would use up a number each time.
      if let row = try connection.run(select).first(where: { _ in true }) {
        return TenantKey(rawValue: try row.int32(0))
      }
      guard adding else { return nil }
      let rows = try connection.pipeline([Command(.addTenant) { $0.add(name) }, select])[1]
      return try rows.first { _ in true }.map { (row) throws(PostgresError) in TenantKey(rawValue: try row.int32(0)) }
    }
    switch found {
    case .success(let key):
      if let key {
        known.withLock {
          if $0.tenants.count >= Limits.tenantsCachedMax { $0.tenants.removeAll() }
          $0.tenants[tenant] = key
        }
      }
      return key
    case .failure(let error): throw error.rpcError
    }
  }

  /// Whether PostgreSQL answers.
  func isReachable() async -> Bool {
    let answer = await connection.runRepeatable { (connection) throws(PostgresError) in
      try connection.run(Command(.ping)).count
    }
    return (try? answer.get()) == 1
  }

  /// Partitions of these times are looked for again: somebody dropped one.
  func forgetPartitions(for times: some Sequence<Timestamp>) {
    let days = times.map { $0.milliseconds / .millisecondsPerDay }
    known.withLock { $0.days.subtract(days) }
  }

  /// Makes sure that a partition holds each of these times.
  nonisolated(nonsending) func ensurePartitions(for times: some Sequence<Timestamp>) async throws(RPCError) {
    let days = Set(times.map { $0.milliseconds / .millisecondsPerDay })
    let missing = known.withLock { days.subtracting($0.days) }
    guard !missing.isEmpty else { return }
    let made = await connection.runRepeatable { (connection) throws(PostgresError) in
      for day in missing.sorted() {
        _ = try connection.run(Command(.ensurePartition) { $0.add(day * .millisecondsPerDay) })
      }
    }
    switch made {
    case .success: known.withLock { $0.days.formUnion(missing) }
    case .failure(let error): throw error.rpcError
    }
  }
}
