import Core
import RPC
import Service
import TestSupport
import Testing

/// The server's clock in these tests.
private let now = Timestamp(milliseconds: 1_750_000_000_000)
private let tenant = Tenant("airline")!

/// The draft as the rules let it through.
private func checked(_ draft: InteractionDraft, requestID: String = "") throws -> Interaction {
  try RecordInteraction(interaction: draft, requestID: requestID).checked(tenant: tenant, now: now)
}

@Suite struct InteractionServiceTests {
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
    let results = try await withCompletion { InteractionService(store: store).record(admitted, $0) }

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

  /// Two times in one millisecond, as finer clocks tell them.
  @Test func rangeWithinAMillisecondIsEmpty() async throws {
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (now, now)
    let service = InteractionService(store: FakeStore(rows: [try checked(.sample(at: now))]))
    let list = try admit(ListInteractions(filter: filter))
    #expect(try await withCompletion { service.list(list, $0) } == InteractionPage(interactions: [], nextPageToken: ""))
    let stats = try admit(GetStats(filter: filter, interval: .hour))
    let report = try await withCompletion { service.stats(stats, $0) }
    #expect(report == StatsReport(start: now, end: now))
  }

  @Test func whatIsNotThereIsNotFound() async {
    let id = InteractionID(at: now)
    let error = await #expect(throws: RPCError.self) {
      _ = try await got(id, from: FakeStore())
    }
    #expect(error?.code == .notFound)
    #expect(error?.reason == .interactionNotFound)
    #expect(error?.message == "there is no interaction \(id)")
  }

  @Test func whatIsThereIsAnswered() async throws {
    let interaction = try checked(.sample(at: now))
    #expect(try await got(interaction.id, from: FakeStore(rows: [interaction])) == interaction)
  }

  @Test func pagesLeadThroughAListToItsEnd() async throws {
    let rows = try (0..<5).map { try checked(.sample(at: now - Int64($0))) }
    let service = InteractionService(store: FakeStore(rows: rows))
    var (seen, token, pages): ([Interaction], String, Int) = ([], "", 0)
    repeat {
      let request = try admit(ListInteractions(pageSize: 2, pageToken: token))
      let page = try await withCompletion { service.list(request, $0) }
      seen += page.interactions
      token = page.nextPageToken
      pages += 1
    } while !token.isEmpty && pages < 10
    #expect(seen == rows)
    #expect(pages == 3)
  }

  @Test func aTokenOfOneTenantIsRefusedToAnother() async throws {
    let rows = try (0..<3).map { try checked(.sample(at: now - Int64($0))) }
    let request = try admit(ListInteractions(pageSize: 2))
    let page = try await withCompletion { InteractionService(store: FakeStore(rows: rows)).list(request, $0) }
    let stolen = ListInteractions(pageSize: 2, pageToken: page.nextPageToken)
    let error = #expect(throws: RPCError.self) {
      _ = try Gate().admit(stolen, from: .all(of: "another airline"), at: now)
    }
    #expect(error?.reason == .pageTokenInvalid)
  }

  private func recorded(_ request: RecordInteraction, in store: FakeStore) async throws -> Recorded {
    let admitted = try admit(request)
    return try await withCompletion { InteractionService(store: store).record(admitted, $0) }
  }

  private func got(_ id: InteractionID, from store: FakeStore) async throws -> Interaction {
    let admitted = try admit(GetInteraction(id: id.description))
    return try await withCompletion { InteractionService(store: store).get(admitted, $0) }
  }

  private func admit<R: Request>(_ request: R) throws -> Admitted<R.Checked> {
    try Gate().admit(request, from: .all(of: tenant.description), at: now)
  }
}

/// Keeps some rows, newest first, and answers what it is told to.
private struct FakeStore: InteractionStore {
  var rows: [Interaction] = []
  var outcome: @Sendable (Interaction) -> Result<Recorded, RPCError>

  init(
    rows: [Interaction] = [],
    _ outcome: @escaping @Sendable (Interaction) -> Result<Recorded, RPCError> = { _ in .failure(.draining) }
  ) {
    self.rows = rows
    self.outcome = outcome
  }

  func record(
    _ interactions: [Interaction], for tenant: Tenant, _ completion: Completion<[Result<Recorded, RPCError>]>
  ) -> Cancellation {
    completion.complete(.success(interactions.map(outcome)))
    return {}
  }

  func interaction(
    _ id: InteractionID, of tenant: Tenant, _ completion: Completion<Interaction?>
  ) -> Cancellation {
    completion.complete(.success(rows.first { $0.id == id }))
    return {}
  }

  func page(
    _ query: ListInteractions.Checked, of tenant: Tenant,
    _ completion: Completion<(interactions: [Interaction], more: Bool)>
  ) -> Cancellation {
    let rest = rows.filter { row in query.after.map { row.id < $0 } ?? true }
    completion.complete(.success((Array(rest.prefix(query.pageSize)), rest.count > query.pageSize)))
    return {}
  }

  func stats(_ query: GetStats.Checked, of tenant: Tenant, _ completion: Completion<StatsReport>) -> Cancellation {
    completion.complete(.success(StatsReport(start: query.start, end: query.end)))
    return {}
  }
}
