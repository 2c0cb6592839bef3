public import Core
public import RPC

/// Reads the interactions that were recorded. `PostgresStore` implements it.
///
/// Each operation returns what cancels it: it stops its work in the database, where it can, and fails.
public protocol InteractionStore: Sendable {
  /// nil where there is none.
  func interaction(
    _ id: InteractionID, of tenant: Tenant, _ completion: Completion<Interaction?>
  ) -> Cancellation

  /// The rows of one page, and whether more follow.
  func page(
    _ query: ListInteractions.Checked, of tenant: Tenant,
    _ completion: Completion<(interactions: [Interaction], more: Bool)>
  ) -> Cancellation
}

extension InteractionStore {
  public func interaction(_ id: InteractionID, of tenant: Tenant) async throws(RPCError) -> Interaction? {
    try await withCompletion { interaction(id, of: tenant, $0) }
  }

  public func page(
    _ query: ListInteractions.Checked, of tenant: Tenant
  ) async throws(RPCError) -> (interactions: [Interaction], more: Bool) {
    try await withCompletion { page(query, of: tenant, $0) }
  }
}

/// The methods that read interactions, behind the gate and before the store.
public struct InteractionService: Sendable {
  private let store: any InteractionStore

  public init(store: any InteractionStore) {
    self.store = store
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
}
