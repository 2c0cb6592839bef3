import Domain
import Logging
import Postgres
import Synchronization

extension Statement {
  fileprivate static let pendingDeltas = Statement("deltas_pending", PackageResources.deltas_pending_sql)
  fileprivate static let tenantsOfDeltas = Statement("deltas_tenants", PackageResources.deltas_tenants_sql)
  fileprivate static let nextRebuild = Statement("rebuild_next", PackageResources.rebuild_next_sql)
}

/// The rollup job: merges change records into the rollups and posting lists, a moment after they were committed, and
/// rebuilds hours that are stale. Any number of servers may try; a lease in PostgreSQL lets one at a time.
///
/// What fails for one tenant, such as a row that somebody has locked, is put off for that tenant, and costs the others
/// nothing: where the work of all fails together, it is done tenant by tenant.
///
/// It owns one connection, as the tables' owner.
final class DeltaFolder: Sendable {
  private let connection: OwnerConnection
  private let lease: RollupLease
  private let logger: Logger
  private let isClosed = Atomic<Bool>(false)
  private let putOff = Mutex(PutOffTenants())

  init(_ connection: OwnerConnection, lease: RollupLease = .row, logger: Logger) {
    self.connection = connection
    self.lease = lease
    self.logger = logger
  }

  /// Works until `close()`, and then until nothing is left to merge; or until the task is cancelled.
  func run() async {
    var backoff = Backoff(from: .milliseconds(250), to: .seconds(10))
    while !Task.isCancelled {
      let isLast = isClosed.load(ordering: .relaxed)
      let begun = ContinuousClock.now
      do throws(PostgresError) {
        while try await step() {}
        backoff.succeeded()
      } catch {
        if !error.isConnectionLost, !error.isTransient, !Task.isCancelled {
          logger.error("the rollup job failed", metadata: ["reason": "\(error.message)"])
        }
        backoff.failed()
        if isLast { return }
      }
      if isLast { return }
      // A merge costs by the rollups it touches more than by the facts: where it costs much, more are waited for.
      let next = ContinuousClock.now + min(max((.now - begun) * 8, .milliseconds(250)), .seconds(2))
      repeat {
        try? await Task.sleep(for: .milliseconds(250))
      } while (.now < next || !backoff.mayTry) && !isClosed.load(ordering: .relaxed) && !Task.isCancelled
    }
  }

  func close() {
    isClosed.store(true, ordering: .relaxed)
  }

  /// Merges some change records, and rebuilds some hours: both, so that neither waits for the other's end.
  ///
  /// - Returns: whether there may be more to do at once.
  func step() async throws(PostgresError) -> Bool {
    try await connection.run { (connection) throws(PostgresError) in
      let pending = try connection.run(Command(.pendingDeltas)).first { _ in true }!
      var isMore = false
      if try pending.bool(0) { isMore = try self.merge(on: connection) }
      // Hours can wait for the next start.
      if !self.isClosed.load(ordering: .relaxed), !pending.isNull(1) {
        isMore = try self.rebuildNext(on: connection) || isMore
      }
      return isMore
    }.get()
  }

  /// Rebuilds some of a tenant's stale hours.
  ///
  /// - Returns: nil where somebody else has the lease.
  func rebuild(_ tenant: TenantKey) async throws(PostgresError) -> Rebuilt? {
    try await connection.run { (connection) throws(PostgresError) in
      try connection.withLease(self.lease) { (connection) throws(PostgresError) in try connection.rebuild(tenant) }
    }.get()
  }

  private func merge(on connection: Session) throws(PostgresError) -> Bool {
    let others = putOff.withLock { $0.tenants }
    do throws(PostgresError) {
      let merged = try connection.withLease(lease) { (connection) throws(PostgresError) in
        try connection.mergeChanges(ofAllBut: others)
      }
      guard let merged else { return false }
      log(merged.damaged)
      return merged.isMore
    } catch {
      guard error.mayBeOfOneTenant else { throw error }
    }
    // One tenant's failure is not the others'.
    var isMore = false
    let tenants = try connection.run(
      Command(.tenantsOfDeltas) {
        $0.add(others.map(\.rawValue))
        $0.add(Int32(Limits.deltasPerFold))
      })
    for row in tenants {
      let tenant = TenantKey(rawValue: try row.int32(0))
      let merged = try puttingOff(tenant) { () throws(PostgresError) in
        try connection.withLease(lease) { (connection) throws(PostgresError) in
          try connection.mergeChanges(of: tenant)
        }
      }
      guard let merged else { continue }
      log(merged.damaged)
      isMore = merged.isMore || isMore
    }
    return isMore
  }

  private func rebuildNext(on connection: Session) throws(PostgresError) -> Bool {
    let others = putOff.withLock { $0.tenants }
    let next = try connection.run(Command(.nextRebuild) { $0.add(others.map(\.rawValue)) }).first { _ in true }
    guard let next else { return false }
    let tenant = TenantKey(rawValue: try next.int32(0))
    let rebuilt = try puttingOff(tenant) { () throws(PostgresError) in
      try connection.withLease(lease) { (connection) throws(PostgresError) in try connection.rebuild(tenant) }
    }
    switch rebuilt {
    case .some(.hours(let left)):
      if left > 2 * Int(Int32.hoursPerDay) {
        logger.info("rebuilding statistics", metadata: ["tenant_key": "\(tenant.rawValue)", "hours_left": "\(left)"])
      }
      return true
    case .some(.leftToNewer):
      putOff.withLock { $0.failed(tenant) }
      return true
    case nil: return putOff.withLock { $0.contains(tenant) }
    }
  }

  /// Does what is one tenant's; where that fails, it is put off.
  private func puttingOff<R>(
    _ tenant: TenantKey, _ body: () throws(PostgresError) -> R?
  ) throws(PostgresError) -> R? {
    do throws(PostgresError) {
      let result = try body()
      putOff.withLock { $0.succeeded(tenant) }
      return result
    } catch {
      guard error.mayBeOfOneTenant else { throw error }
      putOff.withLock { $0.failed(tenant) }
      if !error.isTransient {
        logger.warning(
          "the rollup job puts a tenant off",
          metadata: ["tenant_key": "\(tenant.rawValue)", "reason": "\(error.message)"])
      }
      return nil
    }
  }

  private func log(_ damaged: [TenantKey: StaleHours]) {
    for (tenant, hours) in damaged {
      logger.warning(
        "what is kept for statistics cannot be read; its hours are rebuilt",
        metadata: ["tenant_key": "\(tenant.rawValue)", "hours": "\(hours.count)"])
    }
  }
}

/// Tenants whose work failed, each put off for a growing while. Bounded in number.
struct PutOffTenants {
  private var backoffs: [TenantKey: Backoff] = [:]

  /// Those that are not due yet.
  var tenants: [TenantKey] { backoffs.filter { !$0.value.mayTry }.map(\.key) }

  func contains(_ tenant: TenantKey) -> Bool { backoffs[tenant] != nil }

  mutating func failed(_ tenant: TenantKey) {
    guard backoffs.count < Limits.tenantsPutOffMax || backoffs[tenant] != nil else { return }
    backoffs[tenant, default: Backoff(from: .seconds(1), to: .seconds(60))].failed()
  }

  mutating func succeeded(_ tenant: TenantKey) {
    backoffs[tenant] = nil
  }
}

extension PostgresError {
  /// It may be about what one tenant has: a lock, a conflict, a value. Not so where the server, the role or the schema is
  /// to blame.
  fileprivate var mayBeOfOneTenant: Bool {
    switch kind {
    case .refused(let sqlState):
      !["08", "0A", "25", "26", "28", "3D", "3F", "42", "53", "58"].contains(String(sqlState.prefix(2)))
        && !sqlState.hasPrefix("57P")
    case .unexpectedAnswer: true
    case .connectionLost, .cancelled, .checkFailed: false
    }
  }
}
