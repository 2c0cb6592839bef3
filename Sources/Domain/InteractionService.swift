/// Keeps interactions for ever and answers from them. `Store` implements it on PostgreSQL.
///
/// An operation obeys the cancellation of its task: it stops its work in the database and throws.
public protocol InteractionStore: Sendable {
  /// Records each; a result means committed. In the order given.
  func record(_ interactions: [Interaction], for tenant: Tenant) async throws(RPCError)
    -> [Result<Recorded, RPCError>]

  func interaction(_ id: InteractionID, of tenant: Tenant) async throws(RPCError) -> Interaction?

  /// The rows of one page, and whether more follow.
  func page(_ query: ListInteractions.Checked, of tenant: Tenant) async throws(RPCError)
    -> (interactions: [Interaction], more: Bool)

  func stats(_ query: GetStats.Checked, of tenant: Tenant) async throws(RPCError) -> StatsReport
}

/// The five methods, behind the gate and before the store.
public struct InteractionService: Sendable {
  private let store: any InteractionStore

  public init(store: any InteractionStore) {
    self.store = store
  }

  public func record(_ admitted: Admitted<Interaction>) async throws(RPCError) -> Recorded {
    try await store.record([admitted.request], for: admitted.tenant)[0].get()
  }

  public func record(
    _ admitted: Admitted<[Result<Interaction, RPCError>]>
  ) async throws(RPCError) -> [Result<Recorded, RPCError>] {
    let valid = admitted.request.compactMap { try? $0.get() }
    var recorded = try await store.record(valid, for: admitted.tenant).makeIterator()
    return admitted.request.map { $0.flatMap { _ in recorded.next()! } }
  }

  public func list(_ admitted: Admitted<ListInteractions.Checked>) async throws(RPCError) -> InteractionPage {
    let (interactions, more) = try await store.page(admitted.request, of: admitted.tenant)
    guard more, let last = interactions.last else {
      return InteractionPage(interactions: interactions, nextPageToken: "")
    }
    return InteractionPage(
      interactions: interactions,
      nextPageToken: PageToken.encode(after: last.id, tenant: admitted.tenant, filter: admitted.request.filter))
  }

  public func get(_ admitted: Admitted<InteractionID>) async throws(RPCError) -> Interaction {
    guard let interaction = try await store.interaction(admitted.request, of: admitted.tenant) else {
      throw RPCError(.notFound, .interactionNotFound, "there is no interaction \(admitted.request)")
    }
    return interaction
  }

  public func stats(_ admitted: Admitted<GetStats.Checked>) async throws(RPCError) -> StatsReport {
    try await store.stats(admitted.request, of: admitted.tenant)
  }
}
