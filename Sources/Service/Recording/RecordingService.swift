public import Core
public import RPC

/// Of each interaction of a call, in the order given; or the error that all of them share.
public typealias RecordOutcome = Completion<[Result<Recorded, RPCError>]>.Outcome

/// Keeps interactions for ever. `PostgresStore` implements it.
public protocol RecordingStore: Sendable {
  /// Records each; a result means committed. Calls that are committed together are completed together.
  ///
  /// - Returns: what cancels it: it stops its work in the database, where it can, and fails.
  func record(
    _ interactions: [Interaction], for tenant: Tenant, _ completion: Completion<[Result<Recorded, RPCError>]>
  ) -> Cancellation
}

extension RecordingStore {
  public func record(
    _ interactions: [Interaction], for tenant: Tenant
  ) async throws(RPCError) -> [Result<Recorded, RPCError>] {
    try await withCompletion { record(interactions, for: tenant, $0) }
  }
}

/// The methods that record, behind the gate and before the store.
public struct RecordingService: Sendable {
  private let store: any RecordingStore

  public init(store: any RecordingStore) {
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
}
