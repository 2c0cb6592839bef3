public import Core
import Postgres

extension PostgresStore: StatisticsStore {
  public func stats(
    _ query: GetStats.Checked, of tenant: Tenant, _ completion: Completion<StatsReport>
  ) -> Cancellation {
    completion.complete { [self] () throws(RPCError) in try await report(query, of: tenant) }
  }

  private func report(_ query: GetStats.Checked, of tenant: Tenant) async throws(RPCError) -> StatsReport {
    let exactUpTo = exactStatsInteractionsMax
    let isSmall = smallTenants.contains(tenant, from: query.start)
    let report = try await read(of: tenant) { [layout] (connection, tenant) throws(PostgresError) in
      try connection.stats(query, of: tenant, layout, exactUpTo: exactUpTo, isSmall: isSmall)
    }
    if let report, query.filter.selectsByTimeAlone { smallTenants.remember(tenant, report, exactUpTo: exactUpTo) }
    return report ?? StatsReport(start: query.start, end: query.end)
  }
}
