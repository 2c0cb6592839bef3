import Core
import Logging
import Postgres

extension Statement {
  fileprivate static let pendingChanges = Statement(
    "change_records_pending", PackageResources.change_records_pending_sql)
  fileprivate static let tenantsOfChanges = Statement(
    "change_records_tenants", PackageResources.change_records_tenants_sql)
}

/// Merges change records into the rollups and posting lists, a moment after they were committed.
///
/// The records of all tenants are merged together. Where that fails, or tables are distributed, they are merged tenant by
/// tenant, and a tenant whose own merge fails is put off.
struct RollupJob: Job {
  let name = "rollups"
  let interval = Duration.milliseconds(250)
  let finishesOnStop = true

  private let putOff: PutOffTenants
  private let layout: RecordLayout
  private let lease: LeaseRow?
  private let watch: LeaseWatch?
  private let logger: Logger

  init(
    _ putOff: PutOffTenants, layout: RecordLayout = .standard, lease: LeaseRow? = .rollups, watch: LeaseWatch? = nil,
    logger: Logger
  ) {
    self.putOff = putOff
    self.layout = layout
    self.lease = lease
    self.watch = watch
    self.logger = logger
  }

  func runOnce(on session: Session) throws(PostgresError) -> NextRun {
    let others = putOff.tenants
    // Who has change records is asked of all nodes, and so would be whether anybody has.
    if try session.isDistributed { return try mergeTenantByTenant(but: others, on: session) }
    guard try session.run(Command(.pendingChanges)).first(where: { _ in true })!.bool(0) else { return .afterPause }
    do throws(PostgresError) {
      let merged = try session.withLease(lease, watch) { (session) throws(PostgresError) in
        try session.mergeChanges(ofAllBut: others, layout)
      }
      return nextRun(after: merged)
    } catch {
      guard error.mayBeOfOneTenant else { throw error }
    }
    return try mergeTenantByTenant(but: others, on: session)
  }

  /// Those of the first change records: a bounded number.
  private func mergeTenantByTenant(
    but others: [TenantKey], on session: Session
  ) throws(PostgresError) -> NextRun {
    let tenants = try session.run(
      Command(.tenantsOfChanges) {
        $0.add(others.map(\.rawValue))
        $0.add(Int32(Limits.changeRecordsPerMerge))
      })
    var next = NextRun.afterPause
    for row in tenants {
      let tenant = TenantKey(rawValue: try row.int32(0))
      let merged = try putOff.attempt(tenant) { () throws(PostgresError) in
        try session.withLease(lease, watch) { (session) throws(PostgresError) in
          // What cannot be read of a stale hour, such as a damaged page, is left to those who rebuild it.
          try session.mergeChanges(of: tenant, outside: session.staleHours(of: tenant), layout)
        }
      }
      if nextRun(after: merged) == .atOnce { next = .atOnce }
    }
    return next
  }

  /// - Parameter merged: nil where nothing was merged.
  private func nextRun(after merged: Merged?) -> NextRun {
    guard let merged else { return .afterPause }
    for (tenant, hours) in merged.damaged {
      logger.warning(
        "what is kept for statistics cannot be read; its hours are rebuilt",
        metadata: ["tenant_key": "\(tenant.rawValue)", "hours": "\(hours.count)"])
    }
    return merged.isMore ? .atOnce : .afterPause
  }
}
