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

/// What every row rests on: the tenants' numbers and the partitions. Adds tenants, and the partitions that calls find
/// missing, by one connection as the tables' owner. `PartitionJob` makes the others, and reads look a tenant up by
/// themselves.
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

  func haveLookedFarAhead(found: Bool) { known.withLock { $0.hasPartitionsFarAhead = found } }

  /// The days of these times, as counted from 1970, whose partition is not known to be there.
  func daysWithoutPartition(for times: some Sequence<Timestamp>) -> Set<Int64> {
    let days = Set(times.map { $0.milliseconds / .millisecondsPerDay })
    return known.withLock { days.subtracting($0.days) }
  }

  func rememberPartitions(ofDays days: Set<Int64>) { known.withLock { $0.days.formUnion(days) } }

  /// Makes sure that a partition holds each of these times.
  nonisolated(nonsending) func ensurePartitions(for times: some Sequence<Timestamp>) async throws(RPCError) {
    let missing = daysWithoutPartition(for: times)
    guard !missing.isEmpty else { return }
    let made = await connection.runRepeatable { (connection) throws(PostgresError) in
      for day in missing.sorted() { try connection.ensurePartition(ofDay: day) }
    }
    switch made {
    case .success: rememberPartitions(ofDays: missing)
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

  /// Makes the partition that holds a day, as counted from 1970, if it is not there.
  func ensurePartition(ofDay day: Int64) throws(PostgresError) {
    _ = try run(Command(.ensurePartition) { $0.add(day * .millisecondsPerDay) })
  }

  /// Whether there are partitions of months that nobody can record into.
  func hasPartitionsFarAhead() throws(PostgresError) -> Bool {
    try run(Command(.partitionsFarAhead)).first { _ in true }?.bool(0) ?? false
  }
}
