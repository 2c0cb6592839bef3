import Core
import RPC
import Service
import TestSupport
import Testing

private let now = Timestamp.ofGate

@Suite struct RecordingServiceTests {
  @Test func aRecordIsAnsweredAsTheStoreAnswers() async throws {
    let store = FakeStore { interaction in .success(Recorded(id: interaction.id, alreadyRecorded: true)) }
    let id = InteractionID(at: now)
    var draft = InteractionDraft.sample(at: now)
    draft.id = id.description
    let recorded = try await recorded(RecordInteraction(interaction: draft), in: store)
    #expect(recorded == Recorded(id: id, alreadyRecorded: true))
  }

  @Test func aRecordTheStoreRefusesIsRefused() async {
    let store = FakeStore { _ in .failure(.draining) }
    await #expect(throws: RPCError.draining) {
      _ = try await recorded(RecordInteraction(interaction: .sample(at: now)), in: store)
    }
  }

  @Test func eachOfABatchGetsItsOwnAnswerInItsPlace() async throws {
    let conflict = RPCError(.alreadyExists, .interactionConflict, "taken")
    let store = FakeStore { interaction in
      interaction.content.contextSize == 13
        ? .failure(conflict)
        : .success(Recorded(id: interaction.id, alreadyRecorded: interaction.content.contextSize == 7))
    }
    var drafts = (0..<20).map { index in
      var draft = InteractionDraft.sample(at: now - Int64(index))
      draft.content.contextSize = Int32(index)
      return draft
    }
    for bad in [0, 5, 6, 19] { drafts[bad].content.conversationID = "" }
    let batch = RecordInteractions(interactions: drafts.map { .success($0) })
    let admitted = try admit(batch)
    let results = try await withCompletion { RecordingService(store: store).record(admitted, $0) }

    #expect(results.count == 20)
    for (index, result) in results.enumerated() {
      switch index {
      case 0, 5, 6, 19: #expect(result.error?.violations.map(\.field) == ["interactions[\(index)].conversation_id"])
      case 13: #expect(result.error == conflict)
      default:
        let recorded = try result.get()
        #expect(recorded.createdAt == now - Int64(index))
        #expect(recorded.alreadyRecorded == (index == 7))
      }
    }
  }

  private func recorded(_ request: RecordInteraction, in store: FakeStore) async throws -> Recorded {
    let admitted = try admit(request)
    return try await withCompletion { RecordingService(store: store).record(admitted, $0) }
  }
}

/// Answers of each interaction what it is told to.
private struct FakeStore: RecordingStore {
  var outcome: @Sendable (Interaction) -> Result<Recorded, RPCError>

  init(_ outcome: @escaping @Sendable (Interaction) -> Result<Recorded, RPCError>) {
    self.outcome = outcome
  }

  func record(
    _ interactions: [Interaction], for tenant: Tenant, _ completion: Completion<[Result<Recorded, RPCError>]>
  ) -> Cancellation {
    completion.complete(.success(interactions.map(outcome)))
    return {}
  }
}
