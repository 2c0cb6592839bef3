import Core
import Postgres
import Synchronization

extension Statement {
  fileprivate static let addTenants = Statement("tenants_add", PackageResources.tenants_add_sql)
}

/// Gives tenants their numbers, by a connection as the tables' owner. Reads look a tenant up by themselves.
final class TenantRegistry: Sendable {
  private let connection: OwnerConnection
  private let numbers: TenantNumbers
  /// How long a call waits for what others have locked.
  private let lockMax: Duration
  /// Calls that wait for their tenant's number.
  private let waitingCount = Mutex(0)

  init(
    _ connection: OwnerConnection, _ numbers: TenantNumbers,
    lockMax: Duration = .milliseconds(Limits.recordLockMillisecondsMax)
  ) {
    self.connection = connection
    self.numbers = numbers
    self.lockMax = lockMax
  }

  /// The tenant's number, given now if it has none.
  func add(_ tenant: Tenant) async throws(RPCError) -> TenantKey {
    let mayWait = waitingCount.withLock { count in
      guard count < Limits.tenantLookupsWaitingMax else { return false }
      count += 1
      return true
    }
    guard mayWait else { throw .overloaded("too many calls wait for their tenant to be looked up") }
    defer { waitingCount.withLock { $0 -= 1 } }
    // Another call may have asked meanwhile.
    if let key = numbers.hint(for: tenant) { return key }
    let added = await connection.runRepeatable { [lockMax] (connection) throws(PostgresError) in
      try connection.addTenants([tenant], lockMax: lockMax)[0]
    }
    switch added {
    case .success(let key):
      numbers.remember(key, for: tenant)
      return key
    case .failure(let error): throw error.rpcError
    }
  }
}

extension Session {
  /// The numbers of tenants, in their order, given now to those that have none.
  func addTenants(_ tenants: [Tenant], lockMax: Duration) throws(PostgresError) -> [TenantKey] {
    let rows = try run(
      Command(.addTenants) {
        $0.add(tenants.map(\.description))
        $0.add(lockMax.setting)
      })
    return try rows.map { (row) throws(PostgresError) in TenantKey(rawValue: try row.int32(0)) }
  }
}
