import Domain
import Logging
import Postgres

extension Statement {
  fileprivate static let nextRebuild = Statement("rebuild_next", PackageResources.rebuild_next_sql)
}

/// Rebuilds the rollups and posting lists of stale hours from their rows: of one tenant at a time, and of a day or less.
///
/// It changes what the rollup job changes, so both go by the same lease. What is left can wait for the next server.
struct RebuildJob: Job {
  let name = "rebuilds"
  let interval = Duration.milliseconds(250)
  let finishesOnStop = false

  private let putOff: PutOffTenants
  private let lease: LeaseRow?
  private let logger: Logger

  init(_ putOff: PutOffTenants, lease: LeaseRow? = .rollups, logger: Logger) {
    self.putOff = putOff
    self.lease = lease
    self.logger = logger
  }

  func runOnce(on session: Session) throws(PostgresError) -> NextRun {
    let others = putOff.tenants.map(\.rawValue)
    let row = try session.run(Command(.nextRebuild) { $0.add(others) }).first { _ in true }
    guard let row else { return .afterPause }
    let tenant = TenantKey(rawValue: try row.int32(0))
    let rebuilt = try putOff.attempt(tenant) { () throws(PostgresError) in
      try session.withLease(lease) { (session) throws(PostgresError) in try session.rebuild(tenant) }
    }
    switch rebuilt {
    case .hours(let left)?:
      if left > 2 * Int(Int32.hoursPerDay) {
        logger.info("rebuilding statistics", metadata: ["tenant_key": "\(tenant.rawValue)", "hours_left": "\(left)"])
      }
      return .atOnce
    case .leftToNewer?:
      putOff.putOff(tenant)
      return .atOnce
    // It failed, and there may be another tenant; or another server has the lease.
    case nil: return putOff.contains(tenant) ? .atOnce : .afterPause
    }
  }
}
