import Core
import Logging
import Postgres
import Synchronization

extension Statement {
  fileprivate static let nextRebuild = Statement("rebuild_next", PackageResources.rebuild_next_sql)
}

/// Rebuilds the rollups and posting lists of stale hours from their rows: of one tenant at a time, and of a day or less.
/// An hour that cannot be rebuilt is put off by itself.
///
/// It changes what the rollup job changes, so both go by the same lease. What is left can wait for the next server.
final class RebuildJob: Job {
  let name = "rebuilds"
  let interval = Duration.milliseconds(250)
  let finishesOnStop = false

  private let putOff: PutOffTenants
  private let layout: RecordLayout
  private let lease: LeaseRow?
  private let watch: LeaseWatch?
  private let clock: JobClock
  private let logger: Logger
  private let failures = Mutex(FailedHours())

  init(
    _ putOff: PutOffTenants, layout: RecordLayout = .standard, lease: LeaseRow? = .rollups, watch: LeaseWatch? = nil,
    clock: JobClock = .machine, logger: Logger
  ) {
    self.putOff = putOff
    self.layout = layout
    self.lease = lease
    self.watch = watch
    self.clock = clock
    self.logger = logger
  }

  func runOnce(on session: Session) throws(PostgresError) -> NextRun {
    let others = putOff.tenants + failures.withLock { $0.resting(at: clock.now()) }
    let row = try session.run(Command(.nextRebuild) { $0.add(others.map(\.rawValue)) }).first { _ in true }
    guard let row else { return .afterPause }
    let tenant = TenantKey(rawValue: try row.int32(0))
    var piece = failures.withLock { $0.nextPiece(of: tenant, at: clock.now()) }
    let tried = try putOff.attempt(tenant) { () throws(PostgresError) -> Tried? in
      do throws(PostgresError) {
        let rebuilt = try session.withLease(lease, watch) { (session) throws(PostgresError) in
          try session.rebuild(tenant, layout, &piece)
        }
        return rebuilt.map(Tried.rebuilt)
      } catch {
        guard let hours = piece.tried, isPutOff(hours, of: tenant, error) else { throw error }
        return .failed
      }
    }
    switch tried {
    case .rebuilt(let rebuilt)?: note(rebuilt, piece, of: tenant)
    case .failed?: break
    // It failed, and there may be another tenant; or another server has the lease.
    case nil: return putOff.contains(tenant) ? .atOnce : .afterPause
    }
    return .atOnce
  }

  private enum Tried {
    case rebuilt(Rebuilt)
    /// Of its hours, fewer are tried next.
    case failed
  }

  /// Whether the failure may be of one of the hours, which are then tried apart.
  private func isPutOff(_ hours: Range<Int32>, of tenant: TenantKey, _ error: PostgresError) -> Bool {
    guard error.mayBeOfOneRow || error.isLockTimeout else { return false }
    let goesOn = failures.withLock { $0.failed(hours, of: tenant, at: clock.now()) }
    if goesOn, hours.count == 1 {
      logger.warning(
        "an hour could not be rebuilt and is tried again later; its rows are read meanwhile",
        metadata: [
          "tenant_key": "\(tenant.rawValue)", "hour": "\(InteractionID(lowerBoundOfHour: hours.lowerBound).time)",
          "reason": "\(error.message)",
        ])
    }
    return goesOn
  }

  private func note(_ rebuilt: Rebuilt, _ piece: RebuildPiece, of tenant: TenantKey) {
    switch rebuilt {
    case .hours(let left):
      failures.withLock { $0.ended(piece.tried ?? StaleHours.everyHour, of: tenant) }
      if left > 2 * Int(Int32.hoursPerDay) {
        logger.info("rebuilding statistics", metadata: ["tenant_key": "\(tenant.rawValue)", "hours_left": "\(left)"])
      }
    case .nothing: failures.withLock { $0.found(nothingOf: piece, of: tenant, at: clock.now()) }
    case .leftToNewer: putOff.putOff(tenant)
    }
  }
}
