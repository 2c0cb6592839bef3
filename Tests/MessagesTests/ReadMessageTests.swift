import Core
import Messages
import TestSupport
import Testing

@Suite struct InteractionFilterMessageTests {
  typealias Change = @Sendable (inout InteractionFilter) -> Void

  struct Presence: Sendable, CustomTestStringConvertible {
    var bytes: [UInt8]
    var change: Change
    var testDescription: String { "\(bytes)" }

    init(_ bytes: [UInt8], _ change: @escaping Change) {
      self.bytes = bytes
      self.change = change
    }
  }

  /// Each field of the schema, present with a value and present with what proto3 would leave out.
  static let fields = [
    Presence(field(1, text: "c")) { $0.conversationID = "c" },
    Presence(field(1, text: "")) { $0.conversationID = "" },
    Presence(field(2, text: "m")) { $0.modelUsed = "m" },
    Presence(field(2, text: "")) { $0.modelUsed = "" },
    Presence(field(3, text: "t")) { $0.messageType = "t" },
    Presence(field(3, text: "")) { $0.messageType = "" },
    Presence(field(4, varint: 1)) { $0.handoffTriggered = true },
    Presence(field(4, varint: 0)) { $0.handoffTriggered = false },
    Presence(field(5, text: "r")) { $0.handoffReason = "r" },
    Presence(field(5, text: "")) { $0.handoffReason = "" },
    Presence(field(6, double: 0.25)) { $0.minConfidence = 0.25 },
    Presence(field(6, double: 0)) { $0.minConfidence = 0 },
    Presence(field(7, double: 0.75)) { $0.maxConfidence = 0.75 },
    Presence(field(7, double: 0)) { $0.maxConfidence = 0 },
    Presence(field(8, text: "i")) { $0.intent = "i" },
    Presence(field(8, text: "")) { $0.intent = "" },
    Presence(field(9, bytes: field(1, varint: 1))) { $0.startTime = Timestamp(milliseconds: 1000) },
    Presence(field(9, bytes: [])) { $0.startTime = Timestamp(milliseconds: 0) },
    Presence(field(10, bytes: field(1, varint: -1))) { $0.endTime = Timestamp(milliseconds: -1000) },
    Presence(field(10, bytes: [])) { $0.endTime = Timestamp(milliseconds: 0) },
  ]

  @Test(arguments: fields) func aFieldIsPresentOrAbsent(presence: Presence) throws {
    var filter = InteractionFilter()
    presence.change(&filter)
    #expect(try ListInteractions(encoded: field(1, bytes: presence.bytes)).filter == filter)
    #expect(try GetStats(encoded: field(1, bytes: presence.bytes)).filter == filter)
    #expect(GetStats(filter: filter).encoded() == field(1, bytes: presence.bytes))
  }

  @Test func withoutAFilterNothingIsFiltered() throws {
    #expect(try ListInteractions(encoded: []).filter == InteractionFilter())
    #expect(try GetStats(encoded: field(1, bytes: [])).filter == InteractionFilter())
  }

  @Test func theLastOfAFieldGivenTwiceCounts() throws {
    let bytes =
      field(1, text: "first") + field(1, text: "second") + field(9, bytes: field(1, varint: 1))
      + field(9, bytes: field(1, varint: 2)) + field(4, varint: 1) + field(4, varint: 0)
    let filter = try ListInteractions(encoded: field(1, bytes: bytes)).filter
    #expect(filter.conversationID == "second")
    #expect(filter.startTime == Timestamp(milliseconds: 2000))
    #expect(filter.handoffTriggered == false)
  }

  @Test func boundsFinerThanAMillisecondRoundUp() throws {
    let time = field(1, varint: 1) + field(2, varint: 1)
    let filter = try ListInteractions(encoded: field(1, bytes: field(9, bytes: time) + field(10, bytes: time))).filter
    #expect(filter.startTime == Timestamp(milliseconds: 1001))
    #expect(filter.endTime == Timestamp(milliseconds: 1001))
  }

  @Test(
    arguments: [
      (1, "conversation_id"), (2, "model_used"), (3, "message_type"), (5, "handoff_reason"), (8, "intent"),
    ] as [(UInt64, String)])
  func textThatIsNoneIsRefusedByTheNameOfItsField(number: UInt64, name: String) {
    for bytes in invalidUTF8 {
      let filter = field(1, bytes: field(number, bytes: bytes))
      #expect(violations { _ = try ListInteractions(encoded: filter) } == ["filter.\(name): is not valid UTF-8"])
    }
    let filter = field(1, bytes: field(number, text: "a\0"))
    #expect(violations { _ = try GetStats(encoded: filter) } == ["filter.\(name): holds a NUL character; remove it"])
  }

  @Test(arguments: [(9, "start_time"), (10, "end_time")] as [(UInt64, String)])
  func aTimeThatIsNoneIsRefusedByTheNameOfItsField(number: UInt64, name: String) {
    let filter = field(1, bytes: field(number, bytes: field(2, varint: 1_000_000_000)))
    #expect(
      violations { _ = try ListInteractions(encoded: filter) } == [
        "filter.\(name): is 0 s and 1000000000 ns; allowed are the years 1 to 9999 and 0 to 999999999 ns"
      ])
  }
}

@Suite struct ListInteractionsMessageTests {
  @Test func aRequestHasTheFieldNumbersOfTheSchema() throws {
    let bytes =
      field(1, bytes: field(2, text: "m")) + field(2, varint: 20) + field(3, text: "token") + field(4, varint: 2)
    let request = try ListInteractions(encoded: bytes)
    #expect(request.filter.modelUsed == "m")
    #expect(request.pageSize == 20)
    #expect(request.pageToken == "token")
    #expect(request.view == .full)
    #expect(request.encoded() == bytes)
  }

  @Test func anyRequestComesBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<300 {
      let sent = ListInteractions(
        filter: chance.filter(), pageSize: chance.integer(.min ... .max), pageToken: chance.text(30),
        view: Bool.random(using: &chance) ? .full : .basic)
      let read = try ListInteractions(encoded: sent.encoded())
      #expect(read.filter == sent.filter, "seed \(chance.seed)")
      #expect(read.pageSize == sent.pageSize, "seed \(chance.seed)")
      #expect(read.pageToken == sent.pageToken, "seed \(chance.seed)")
      #expect(read.view == sent.view, "seed \(chance.seed)")
    }
  }

  @Test(
    arguments: [
      ([], .basic), (field(4, varint: 0), .basic), (field(4, varint: 1), .basic), (field(4, varint: 2), .full),
    ] as [([UInt8], InteractionView)])
  func withoutAViewItIsBasic(bytes: [UInt8], view: InteractionView) throws {
    #expect(try ListInteractions(encoded: bytes).view == view)
  }

  @Test(arguments: [3, -1, 127, Int64(Int32.max), Int64(Int32.min)]) func anUnknownViewIsRefused(view: Int64) {
    let error = #expect(throws: RPCError.self) { _ = try ListInteractions(encoded: field(4, varint: view)) }
    #expect(error?.violations.map(\.field) == ["view"])
    #expect(error?.message.contains("allowed are BASIC (1) and FULL (2)") == true)
  }

  @Test func aTokenIsText() {
    #expect(
      violations { _ = try ListInteractions(encoded: field(3, bytes: [0xff])) } == ["page_token: is not valid UTF-8"])
  }
}

@Suite struct InteractionPageMessageTests {
  @Test func aPageHasTheFieldNumbersOfTheSchema() throws {
    let bytes =
      field(1, bytes: InteractionMessageTests.bytes) + field(1, bytes: InteractionMessageTests.bytes)
      + field(2, text: "token")
    let interaction = InteractionMessageTests.interaction
    let page = InteractionPage(interactions: [interaction, interaction], nextPageToken: "token")
    #expect(page.encoded() == bytes)
    #expect(try InteractionPage(encoded: bytes) == page)
  }

  @Test func anyPageComesBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<100 {
      let page = InteractionPage(interactions: chance.list(5) { $0.interaction() }, nextPageToken: chance.text(20))
      #expect(try InteractionPage(encoded: page.encoded()) == page, "seed \(chance.seed)")
    }
  }
}

@Suite struct GetInteractionMessageTests {
  @Test func aRequestHasTheBytesOfTheSchema() throws {
    #expect(GetInteraction(id: "ab").encoded() == [0x0a, 0x02, 0x61, 0x62])
    #expect(try GetInteraction(encoded: [0x0a, 0x02, 0x61, 0x62]).id == "ab")
    #expect(try GetInteraction(encoded: []).id == "")
  }

  @Test func anIDIsText() {
    #expect(violations { _ = try GetInteraction(encoded: field(1, bytes: [0xff])) } == ["id: is not valid UTF-8"])
    #expect(
      violations { _ = try GetInteraction(encoded: field(1, text: "\0")) } == ["id: holds a NUL character; remove it"])
  }
}

@Suite struct InteractionMessageTests {
  /// As the service sends it: with every field filled in, and when it was written.
  static let bytes =
    RecordInteractionMessageTests.interaction.replacingTime(by: 1_750_000_000)
    + field(16, bytes: field(1, varint: 1_750_000_001) + field(2, varint: 7_000_000))

  static let interaction = Interaction(
    id: InteractionID(RecordInteractionMessageTests.id)!, content: RecordInteractionMessageTests.draft.content,
    updatedAt: Timestamp(milliseconds: 1_750_000_001_007))

  @Test func anAnswerHasTheFieldNumbersOfTheSchema() throws {
    #expect(Self.interaction.encoded() == field(1, bytes: Self.bytes))
    #expect(try Interaction(encoded: field(1, bytes: Self.bytes)) == Self.interaction)
  }

  @Test func anyInteractionComesBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<300 {
      let interaction = chance.interaction()
      #expect(try Interaction(encoded: interaction.encoded()) == interaction, "seed \(chance.seed)")
    }
  }

  @Test func anAnswerWithoutAnInteractionOrItsIDIsNone() {
    #expect(violations { _ = try Interaction(encoded: []) } == ["interaction: is missing"])
    #expect(violations { _ = try Interaction(encoded: field(1, bytes: [])) } == ["id: is no UUID"])
  }

  /// Pages and queues are bounded by this weight.
  @Test func itNeverWeighsLessThanItsBytesOnTheWire() {
    var chance = SeededGenerator()
    for _ in 0..<300 {
      let interaction = chance.interaction()
      #expect(interaction.bytes >= interaction.encoded().count, "seed \(chance.seed)")
    }
    #expect(Self.largest.bytes >= Self.largest.encoded().count)
  }

  /// Every number at its longest.
  static let largest: Interaction = {
    var content = InteractionContent()
    content.conversationID = String(repeating: "x", count: 128)
    content.customerMessage = String(repeating: "x", count: 65_536)
    content.agentResponse = String(repeating: "x", count: 65_536)
    content.detectedIntents = [Intent](
      repeating: Intent(name: String(repeating: "x", count: 128), confidence: 0.1), count: 64)
    content.modelUsed = String(repeating: "x", count: 128)
    content.contextSize = .max
    content.processingTimeMilliseconds = .max
    content.confidenceScore = 0.1
    content.handoffTriggered = true
    content.handoffReason = String(repeating: "x", count: 256)
    content.messageType = String(repeating: "x", count: 20)
    content.promptTokens = .max / 2
    content.completionTokens = .max / 2
    content.estimatedCostNanos = 9_000_000_000_000_000
    let last = Timestamp(milliseconds: 253_402_300_799_999)
    return Interaction(id: InteractionID(at: last), content: content, updatedAt: last)
  }()
}

extension [UInt8] {
  /// The sample's `created_at` as the server sends it: that of the id.
  fileprivate func replacingTime(by seconds: Int64) -> [UInt8] {
    let sent = field(3, bytes: field(1, varint: 1_750_000_000) + field(2, varint: 123_000_000))
    let place = indices.first { self[$0...].starts(with: sent) }!
    return self[..<place] + field(3, bytes: field(1, varint: seconds)) + self[(place + sent.count)...]
  }
}
