import Core
import RPC
import Service
import TestSupport
import Testing

private let now = Timestamp.ofGate

/// The draft as the rules let it through.
private func checked(_ draft: InteractionDraft) throws -> Interaction {
  try admit(RecordInteraction(interaction: draft)).request
}

@Suite struct InteractionServiceTests {
  /// Two times in one millisecond, as finer clocks tell them.
  @Test func rangeWithinAMillisecondIsEmpty() async throws {
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (now, now)
    let service = InteractionService(store: FakeStore(rows: [try checked(.sample(at: now))]))
    let list = try admit(ListInteractions(filter: filter))
    #expect(try await withCompletion { service.list(list, $0) } == InteractionPage(interactions: [], nextPageToken: ""))
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

  private func got(_ id: InteractionID, from store: FakeStore) async throws -> Interaction {
    let admitted = try admit(GetInteraction(id: id.description))
    return try await withCompletion { InteractionService(store: store).get(admitted, $0) }
  }
}

/// Keeps some rows, newest first.
private struct FakeStore: InteractionStore {
  var rows: [Interaction] = []

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
}
