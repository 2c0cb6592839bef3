public import Core
public import RPC

/// Of each interaction of a call, in the order given; or the error that all of them share.
public typealias RecordOutcome = Completion<[Result<Recorded, RPCError>]>.Outcome

/// Keeps interactions for ever and reads them. `PostgresStore` implements it.
///
/// Each operation returns what cancels it: it stops its work in the database, where it can, and fails.
public protocol InteractionStore: Sendable {
  /// Records each; a result means committed. Calls that are committed together are completed together.
  func record(
    _ interactions: [Interaction], for tenant: Tenant, _ completion: Completion<[Result<Recorded, RPCError>]>
  ) -> Cancellation

  /// nil where there is none.
  func interaction(
    _ id: InteractionID, of tenant: Tenant, _ completion: Completion<Interaction?>
  ) -> Cancellation

  /// The rows of one page, and whether more follow.
  func page(
    _ query: ListInteractions.Checked, of tenant: Tenant,
    _ completion: Completion<(interactions: [Interaction], more: Bool)>
  ) -> Cancellation

  func stats(_ query: GetStats.Checked, of tenant: Tenant, _ completion: Completion<StatsReport>) -> Cancellation
}

extension InteractionStore {
  public func record(
    _ interactions: [Interaction], for tenant: Tenant
  ) async throws(RPCError) -> [Result<Recorded, RPCError>] {
    try await withCompletion { record(interactions, for: tenant, $0) }
  }

  public func interaction(_ id: InteractionID, of tenant: Tenant) async throws(RPCError) -> Interaction? {
    try await withCompletion { interaction(id, of: tenant, $0) }
  }

  public func page(
    _ query: ListInteractions.Checked, of tenant: Tenant
  ) async throws(RPCError) -> (interactions: [Interaction], more: Bool) {
    try await withCompletion { page(query, of: tenant, $0) }
  }

  public func stats(_ query: GetStats.Checked, of tenant: Tenant) async throws(RPCError) -> StatsReport {
    try await withCompletion { stats(query, of: tenant, $0) }
  }
}

/// The five methods, behind the gate and before the store.
public struct InteractionService: Sendable {
  private let store: any InteractionStore

  public init(store: any InteractionStore) {
    self.store = store
  }

  public func record(_ admitted: Admitted<Interaction>, _ completion: Completion<Recorded>) -> Cancellation {
    store.record([admitted.request], for: admitted.tenant, completion.map { $0.flatMap { $0[0] } })
  }

  /// The same for many: those that break a rule are refused in their places.
  public func record(
    _ admitted: Admitted<[Result<Interaction, RPCError>]>, _ completion: Completion<[Result<Recorded, RPCError>]>
  ) -> Cancellation {
    // Without the texts, which are long.
    let refused = admitted.request.map { $0.map { _ in } }
    return store.record(
      admitted.request.compactMap { try? $0.get() }, for: admitted.tenant,
      completion.map { outcome in
        outcome.map { recorded in
          var recorded = recorded.makeIterator()
          return refused.map { $0.flatMap { recorded.next()! } }
        }
      })
  }

  public func list(
    _ admitted: Admitted<ListInteractions.Checked>, _ completion: Completion<InteractionPage>
  ) -> Cancellation {
    if admitted.request.filter.selectsNoTime {
      completion.complete(.success(InteractionPage(interactions: [], nextPageToken: "")))
      return {}
    }
    return store.page(
      admitted.request, of: admitted.tenant,
      completion.map { outcome in
        outcome.map { page in
          guard page.more, let last = page.interactions.last else {
            return InteractionPage(interactions: page.interactions, nextPageToken: "")
          }
          return InteractionPage(
            interactions: page.interactions,
            nextPageToken: PageToken.encode(after: last.id, tenant: admitted.tenant, filter: admitted.request.filter))
        }
      })
  }

  public func get(_ admitted: Admitted<InteractionID>, _ completion: Completion<Interaction>) -> Cancellation {
    store.interaction(
      admitted.request, of: admitted.tenant,
      completion.map { found in
        found.flatMap { interaction in
          interaction.map { .success($0) }
            ?? .failure(RPCError(.notFound, .interactionNotFound, "there is no interaction \(admitted.request)"))
        }
      })
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
