import Core
import Postgres

extension ReaderSession {
  /// Computes statistics from rollups in one round trip; from rows in a second one if there are at most `exactUpTo`
  /// interactions, because rows give exact percentiles. Stale hours take more round trips.
  ///
  /// - Parameter isSmall: there are probably at most `exactUpTo` interactions, so that their rows are read first, and no more.
  func stats(
    _ query: GetStats.Checked, of tenant: NumberedTenant, _ layout: RecordLayout, exactUpTo: Int, isSmall: Bool = false
  ) throws(PostgresError) -> StatsReport {
    if isSmall {
      let rows = try read(
        [.interactionStats(query, tenant.key, layout, countMax: exactUpTo + 1)], tenant: tenant, plan: .fresh)[0]
      let report = try StatsReport(rows, for: query, layout.plan.measures)
      if report.totals.totalInteractions <= Int64(exactUpTo) { return report }
    }
    if let reader = StatsReader(query, tenant: tenant.key, layout: layout) {
      do throws(PostgresError) {
        if let report = try reader.report(on: self, of: tenant, exactUpTo: exactUpTo) { return report }
      } catch {
        // A page of the table that PostgreSQL cannot read is treated like a damaged rollup.
        guard error.mayBeOfOneRow else { throw error }
      }
    }
    let rows = try read([.interactionStats(query, tenant.key, layout)], tenant: tenant, plan: .fresh)[0]
    return try StatsReport(rows, for: query, layout.plan.measures)
  }
}

extension ReadTransaction {
  /// The statistics as the rows alone tell them, by plain SQL: exact, at the price of reading every row.
  func statsOfRows(
    _ query: GetStats.Checked, tenant: TenantKey, _ layout: RecordLayout
  ) throws(PostgresError) -> StatsReport {
    try StatsReport(run(.interactionStats(query, tenant, layout)), for: query, layout.plan.measures)
  }
}

extension Command {
  fileprivate static func interactionStats(
    _ query: GetStats.Checked, _ tenant: TenantKey, _ layout: RecordLayout, countMax: Int? = nil
  ) -> Command {
    Command(layout.statements.stats) {
      $0.add(
        tenant: tenant, from: InteractionID(lowerBound: query.start), upTo: InteractionID(lowerBound: query.end))
      $0.add(query.filter)
      $0.add(query.interval?.milliseconds)
      $0.add(Int64(Limits.statsGroupsMax))
      $0.add(countMax.map(Int64.init))
    }
  }
}
