/// Of each interaction of a call, in the order given; or the error that all of them share.
public typealias RecordOutcome = Result<[Result<Recorded, RPCError>], RPCError>

/// Keeps interactions for ever and answers from them. `Store` implements it on PostgreSQL.
///
/// An operation obeys the cancellation of its task, or the one it gave: it stops its work in the database, where it
/// can, and fails.
public protocol InteractionStore: Sendable {
  /// Records each; a result means committed. Many calls that end together cost the executor one turn.
  func record(
    _ interactions: [Interaction], for tenant: Tenant, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (RecordOutcome) -> Void
  ) -> Cancellation

  /// nil where there is none.
  func interaction(
    _ id: InteractionID, of tenant: Tenant, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (Result<Interaction?, RPCError>) -> Void
  ) -> Cancellation

  /// The rows of one page, and whether more follow.
  func page(_ query: ListInteractions.Checked, of tenant: Tenant) async throws(RPCError)
    -> (interactions: [Interaction], more: Bool)

  func stats(_ query: GetStats.Checked, of tenant: Tenant) async throws(RPCError) -> StatsReport
}

extension InteractionStore {
  /// The same for those that have a task, which may be cancelled.
  public func record(
    _ interactions: [Interaction], for tenant: Tenant
  ) async throws(RPCError) -> [Result<Recorded, RPCError>] {
    try await awaited { record(interactions, for: tenant, on: $0, answer: $1) }
  }

  public func interaction(_ id: InteractionID, of tenant: Tenant) async throws(RPCError) -> Interaction? {
    try await awaited { interaction(id, of: tenant, on: $0, answer: $1) }
  }
}

/// The five methods, behind the gate and before the store.
public struct InteractionService: Sendable {
  private let store: any InteractionStore

  public init(store: any InteractionStore) {
    self.store = store
  }

  /// The answer goes to `answer`, once and on the executor.
  public func record(
    _ admitted: Admitted<Interaction>, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (Result<Recorded, RPCError>) -> Void
  ) -> Cancellation {
    store.record([admitted.request], for: admitted.tenant, on: executor) { answer($0.flatMap { $0[0] }) }
  }

  /// The same for many: those that break a rule are answered in their places.
  public func record(
    _ admitted: Admitted<[Result<Interaction, RPCError>]>, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (RecordOutcome) -> Void
  ) -> Cancellation {
    // Without the texts, which are long.
    let refused = admitted.request.map { $0.map { _ in } }
    return store.record(admitted.request.compactMap { try? $0.get() }, for: admitted.tenant, on: executor) { outcome in
      answer(
        outcome.map { recorded in
          var recorded = recorded.makeIterator()
          return refused.map { $0.flatMap { recorded.next()! } }
        })
    }
  }

  public func list(_ admitted: Admitted<ListInteractions.Checked>) async throws(RPCError) -> InteractionPage {
    if admitted.request.filter.selectsNoTime { return InteractionPage(interactions: [], nextPageToken: "") }
    let (interactions, more) = try await store.page(admitted.request, of: admitted.tenant)
    guard more, let last = interactions.last else {
      return InteractionPage(interactions: interactions, nextPageToken: "")
    }
    return InteractionPage(
      interactions: interactions,
      nextPageToken: PageToken.encode(after: last.id, tenant: admitted.tenant, filter: admitted.request.filter))
  }

  public func get(
    _ admitted: Admitted<InteractionID>, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (Result<Interaction, RPCError>) -> Void
  ) -> Cancellation {
    store.interaction(admitted.request, of: admitted.tenant, on: executor) { found in
      answer(
        found.flatMap { interaction in
          interaction.map { .success($0) }
            ?? .failure(RPCError(.notFound, .interactionNotFound, "there is no interaction \(admitted.request)"))
        })
    }
  }

  public func stats(_ admitted: Admitted<GetStats.Checked>) async throws(RPCError) -> StatsReport {
    let query = admitted.request
    if query.filter.selectsNoTime { return StatsReport(start: query.start, end: query.end) }
    return try await store.stats(query, of: admitted.tenant)
  }
}
