import Domain
import Logging
import Postgres
import Synchronization

extension Statement {
  fileprivate static let addTenants = Statement("tenants_add", PackageResources.tenants_add_sql)
  fileprivate static let ensurePartition = Statement("partition_ensure", PackageResources.partition_ensure_sql)
  fileprivate static let partitionsFarAhead = Statement(
    "partitions_far_ahead", PackageResources.partitions_far_ahead_sql)
}

/// What every row rests on: the tenants' numbers and the partitions. Owns one connection, as the
/// tables' owner, which adds tenants and partitions; reads look a tenant up by themselves.
final class Catalog: Sendable {
  private struct Known {
    /// Days, as counted from 1970, whose partition is there.
    var days: Set<Int64> = []
    /// Calls that wait for their tenant's number.
    var waitingCount = 0
    var hasPartitionsFarAhead = false
  }

  private let connection: OwnerConnection
  private let numbers: TenantNumbers
  private let known = Mutex(Known())

  init(_ connection: OwnerConnection, _ numbers: TenantNumbers) {
    self.connection = connection
    self.numbers = numbers
  }

  /// The tenant's number, given now if it has none.
  func add(_ tenant: Tenant) async throws(RPCError) -> TenantKey {
    let mayWait = known.withLock { known in
      guard known.waitingCount < Limits.tenantLookupsWaitingMax else { return false }
      known.waitingCount += 1
      return true
    }
    guard mayWait else { throw .overloaded("too many calls wait for their tenant to be looked up") }
    defer { known.withLock { $0.waitingCount -= 1 } }
    // Another call may have asked meanwhile.
    if let key = numbers.hint(for: tenant) { return key }
    let added = await connection.runRepeatable { (connection) throws(PostgresError) in
      try connection.addTenants([tenant])[0]
    }
    switch added {
    case .success(let key):
      numbers.remember(key, for: tenant)
      return key
    case .failure(let error): throw error.rpcError
    }
  }

  /// Partitions of these times are looked for again: somebody dropped one.
  func forgetPartitions(for times: some Sequence<Timestamp>) {
    let days = times.map { $0.milliseconds / .millisecondsPerDay }
    known.withLock { $0.days.subtract(days) }
  }

  /// Whether there were partitions of months that nobody can record into, when somebody last looked: how a page is read
  /// fast, not whether it is right.
  var hasPartitionsFarAhead: Bool { known.withLock { $0.hasPartitionsFarAhead } }

  nonisolated(nonsending) func lookForPartitionsFarAhead() async throws(RPCError) {
    let found = await connection.runRepeatable { (connection) throws(PostgresError) in
      try connection.run(Command(.partitionsFarAhead)).first { _ in true }?.bool(0) ?? false
    }
    switch found {
    case .success(let found): known.withLock { $0.hasPartitionsFarAhead = found }
    case .failure(let error): throw error.rpcError
    }
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

extension Session {
  /// The numbers of tenants, in their order, given now to those that have none.
  func addTenants(_ tenants: [Tenant]) throws(PostgresError) -> [TenantKey] {
    let rows = try run(Command(.addTenants) { $0.add(tenants.map(\.description)) })
    return try rows.map { (row) throws(PostgresError) in TenantKey(rawValue: try row.int32(0)) }
  }
}
