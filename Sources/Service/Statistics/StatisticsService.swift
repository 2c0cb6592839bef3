public import Core
public import RPC

/// Computes statistics of interactions. `PostgresStore` implements it.
public protocol StatisticsStore: Sendable {
  /// - Returns: what cancels it: it stops its work in the database, where it can, and fails.
  func stats(_ query: GetStats.Checked, of tenant: Tenant, _ completion: Completion<StatsReport>) -> Cancellation
}

extension StatisticsStore {
  public func stats(_ query: GetStats.Checked, of tenant: Tenant) async throws(RPCError) -> StatsReport {
    try await withCompletion { stats(query, of: tenant, $0) }
  }
}

/// The methods of statistics, behind the gate and before the store.
public struct StatisticsService: Sendable {
  private let store: any StatisticsStore

  public init(store: any StatisticsStore) {
    self.store = store
  }

  public func stats(_ admitted: Admitted<GetStats.Checked>, _ completion: Completion<StatsReport>) -> Cancellation {
    let query = admitted.request
    if query.filter.selectsNoTime {
      completion.complete(.success(StatsReport(start: query.start, end: query.end)))
      return {}
    }
    return store.stats(query, of: admitted.tenant, completion)
  }
}
