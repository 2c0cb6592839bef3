import Core
import Messages
import Synchronization
import TestSupport
import Testing

/// Nothing of one tenant shows in any answer to another.
@Suite(.timeLimit(.minutes(5)))
struct TenantIsolationTests {
  /// A tenant, whose name stands in all it records, and everything it recorded.
  private struct Party {
    var name: String
    var token: String
    var recorded: [InteractionID: InteractionContent] = [:]
    /// Ids that are its own alone.
    var ownIDs: [InteractionID] = []
  }

  /// Page tokens and the filters they belong to, for the other tenant to try.
  private final class Loot: Sendable {
    private let tokens = Mutex<[String: [(InteractionFilter, String)]]>([:])

    func add(_ filter: InteractionFilter, _ token: String, of tenant: String) {
      tokens.withLock { $0[tenant, default: []].append((filter, token)) }
    }

    func any(of tenant: String, using chance: inout SeededGenerator) -> (InteractionFilter, String)? {
      tokens.withLock { $0[tenant]?.randomElement(using: &chance) }
    }
  }

  private let begun = Timestamp.now

  @Test func nothingOfOneTenantShowsToAnother() async throws {
    try await TestServer.with { server in
      var chance = SeededGenerator()
      let seed = chance.seed
      var parties = [
        Party(name: "alphasecret", token: try await signedToken(of: "alphasecret")),
        Party(name: "betasecret", token: try await signedToken(of: "betasecret")),
      ]
      let shared = (0..<20).map { InteractionID(at: begun - Int64($0) * 60_000) }
      for index in parties.indices {
        parties[index].ownIDs = (0..<20).map { InteractionID(at: begun - Int64($0) * 70_000) }
        try await record(shared + parties[index].ownIDs, for: &parties[index], server, using: &chance)
      }
      let loot = Loot()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for (mine, other) in [(parties[0], parties[1]), (parties[1], parties[0])] {
          for (number, address) in [server.unix, server.tcp].enumerated() {
            group.addTask {
              var chance = SeededGenerator(seed: seed &+ UInt64(number) &* 7)
              let peer = try RawConnection(to: address)
              for _ in 0..<60 { try await look(mine, other, peer, loot, using: &chance) }
            }
          }
        }
        try await group.waitForAll()
      }
    }
  }

  /// Records drafts that name the tenant wherever there is room; the tenants' ids may meet.
  private func record(
    _ ids: [InteractionID], for party: inout Party, _ server: TestServer, using chance: inout SeededGenerator
  ) async throws {
    let peer = try server.connect()
    for id in ids {
      var draft = InteractionDraft.sample(at: id.time)
      draft.id = id.description
      draft.content = content(of: party.name, using: &chance)
      draft.content.conversationID = "shared \(Int.random(in: 0..<4, using: &chance))"
      let data = try await answer(
        to: RecordInteraction.method, RecordInteraction(interaction: draft), party, peer, seed: chance.seed)
      // Though the other tenant has the same id.
      let recorded = try Recorded(encoded: Envelope.reply(data).get())
      #expect(recorded == Recorded(id: id, alreadyRecorded: false), "seed \(chance.seed)")
      party.recorded[id] = draft.content
    }
  }

  private func content(of name: String, using chance: inout SeededGenerator) -> InteractionContent {
    var content = InteractionDraft.sample().content
    content.customerMessage = "\(name) asks"
    content.agentResponse = "\(name) is told"
    content.detectedIntents = [Intent(name: "\(name) intent", confidence: 0.5), Intent(name: "common", confidence: 1)]
    content.modelUsed = Bool.random(using: &chance) ? "\(name) model" : "common"
    content.handoffTriggered = Bool.random(using: &chance)
    content.handoffReason = content.handoffTriggered ? "\(name) reason" : ""
    content.messageType = Bool.random(using: &chance) ? name : "text"
    content.confidenceScore = Double.random(in: 0...1, using: &chance)
    content.estimatedCostNanos = .random(in: 0...1_000_000, using: &chance)
    return content
  }

  /// Any answer's bytes, in which the other tenant is not named.
  private func answer(
    to method: MethodName, _ request: some WireMessage, _ party: Party, _ peer: RawConnection, seed: UInt64
  ) async throws -> [UInt8] {
    try await peer.start(method, request, party.token)
    let data = try await peer.nextFrame().data
    let text = String(decoding: data, as: UTF8.self)
    for name in ["alphasecret", "betasecret"] where name != party.name {
      #expect(!text.contains(name), "seed \(seed): \(method)")
    }
    return data
  }

  private func look(
    _ mine: Party, _ other: Party, _ peer: RawConnection, _ loot: Loot, using chance: inout SeededGenerator
  ) async throws {
    let seed = chance.seed
    let filter = filter(mine.name, other.name, using: &chance)
    let matching = mine.recorded.filter { filter.matches($0.key, $0.value) }
    switch Int.random(in: 0..<5, using: &chance) {
    case 0:
      let id = mine.recorded.keys.sorted().randomElement(using: &chance)!
      let data = try await answer(to: GetInteraction.method, GetInteraction(id: "\(id)"), mine, peer, seed: seed)
      #expect(try Interaction(encoded: Envelope.reply(data).get()).content == mine.recorded[id], "seed \(seed)")
    case 1:
      // The other's own, and one that nobody has: the same answer but for the id in it.
      var answers: [String] = []
      for id in [other.ownIDs.randomElement(using: &chance)!, InteractionID(at: begun)] {
        let data = try await answer(to: GetInteraction.method, GetInteraction(id: "\(id)"), mine, peer, seed: seed)
        answers.append(String(decoding: data, as: UTF8.self).replacing("\(id)", with: "ID"))
      }
      #expect(answers[0] == answers[1] && answers[0].contains("INTERACTION_NOT_FOUND"), "seed \(seed)")
    case 2:
      var found: [InteractionID] = []
      var request = ListInteractions(
        filter: filter, pageSize: .random(in: 1...15, using: &chance),
        view: Bool.random(using: &chance) ? .full : .basic)
      repeat {
        let data = try await answer(to: ListInteractions.method, request, mine, peer, seed: seed)
        let page = try InteractionPage(encoded: Envelope.reply(data).get())
        found += page.interactions.map(\.id)
        request.pageToken = page.nextPageToken
        if !page.nextPageToken.isEmpty { loot.add(filter, page.nextPageToken, of: mine.name) }
      } while !request.pageToken.isEmpty
      #expect(found == matching.keys.sorted(by: >), "seed \(seed)")
    case 3:
      let interval = [nil, StatsInterval.hour, .day].randomElement(using: &chance)!
      let data = try await answer(
        to: GetStats.method, GetStats(filter: filter, interval: interval), mine, peer, seed: seed)
      let report = try StatsReport(encoded: Envelope.reply(data).get())
      let cost = matching.values.reduce(0) { $0 + $1.estimatedCostNanos }
      #expect(report.totals.totalInteractions == Int64(matching.count), "seed \(seed)")
      #expect(report.totals.totalCostNanos == cost, "seed \(seed)")
    default:
      guard let (filter, stolen) = loot.any(of: other.name, using: &chance) else { return }
      let data = try await answer(
        to: ListInteractions.method, ListInteractions(filter: filter, pageToken: stolen, view: .full), mine, peer,
        seed: seed)
      #expect(try ErrorResponse(data).reasons == ["PAGE_TOKEN_INVALID"], "seed \(seed)")
    }
  }

  private func filter(_ mine: String, _ other: String, using chance: inout SeededGenerator) -> InteractionFilter {
    func maybe<T>(_ values: [T]) -> T? {
      Int.random(in: 0..<5, using: &chance) == 0 ? values.randomElement(using: &chance) : nil
    }
    var filter = InteractionFilter()
    filter.conversationID = maybe(["shared 0", "shared 1", "shared 2"])
    filter.modelUsed = maybe(["\(mine) model", "\(other) model", "common"])
    filter.messageType = maybe([mine, other, "text"])
    filter.handoffTriggered = maybe([true, false])
    filter.handoffReason = maybe(["\(mine) reason", "\(other) reason", ""])
    filter.minConfidence = maybe([0, 0.25])
    filter.maxConfidence = maybe([0.75, 1])
    filter.intent = maybe(["\(mine) intent", "\(other) intent", "common"])
    filter.startTime = maybe([begun - 600_000, begun - 3_600_000])
    filter.endTime = maybe([begun - 60_000, begun + 60_000])
    return filter
  }

  /// Swift takes these names for equal (canonical equivalence); they are other tenants all the same.
  @Test(arguments: [("caf\u{e9}", "cafe\u{301}"), ("K", "\u{212a}"), ("\u{c5}ngstr\u{f6}m", "\u{212b}ngstr\u{f6}m")])
  func tenantsThatOnlyLookAlikeAreApart(name: String, lookalike: String) async throws {
    try await TestServer.with { server in
      let peer = try server.connect()
      let (mine, theirs) = (try await signedToken(of: name), try await signedToken(of: lookalike))
      let recorded: Recorded = try await peer.answer(
        RecordInteraction.method, RecordInteraction(interaction: .sample()), mine)
      let get = GetInteraction(id: "\(recorded.id)")
      #expect(try await peer.reply(GetInteraction.method, get, mine).error == nil)
      #expect(try await peer.reply(GetInteraction.method, get, theirs).error?.code == .notFound)
      let stats: StatsReport = try await peer.answer(GetStats.method, GetStats(), theirs)
      #expect(stats.totals.totalInteractions == 0)
      let _: Recorded = try await peer.answer(
        RecordInteraction.method, RecordInteraction(interaction: .sample()), theirs)
      #expect(try server.database.sql("SELECT FROM parley.tenants").count == 2)
    }
  }

  /// The same for what is recorded: other bytes are other content.
  @Test func contentThatOnlyLooksTheSameConflicts() async throws {
    try await TestServer.with { server in
      let peer = try server.connect()
      let id = InteractionID(at: .now)
      var draft = InteractionDraft.sample(at: id.time)
      draft.id = id.description
      draft.content.customerMessage = "caf\u{e9}"
      let first: Recorded = try await peer.answer(
        RecordInteraction.method, RecordInteraction(interaction: draft), server.token)
      #expect(!first.alreadyRecorded)
      draft.content.customerMessage = "cafe\u{301}"
      let again = try await peer.reply(RecordInteraction.method, RecordInteraction(interaction: draft), server.token)
      #expect(again.error?.code == .alreadyExists)
    }
  }
}

extension InteractionFilter {
  /// What the schema says of each field.
  fileprivate func matches(_ id: InteractionID, _ content: InteractionContent) -> Bool {
    (conversationID ?? content.conversationID) == content.conversationID
      && (modelUsed ?? content.modelUsed) == content.modelUsed
      && (messageType ?? content.messageType) == content.messageType
      && (handoffTriggered ?? content.handoffTriggered) == content.handoffTriggered
      && (handoffReason ?? content.handoffReason) == content.handoffReason
      && (minConfidence ?? 0) <= content.confidenceScore && content.confidenceScore <= (maxConfidence ?? 1)
      && (intent.map { name in content.detectedIntents.contains { $0.name == name } } ?? true)
      && (startTime ?? id.time) <= id.time && (endTime.map { id.time < $0 } ?? true)
  }
}
