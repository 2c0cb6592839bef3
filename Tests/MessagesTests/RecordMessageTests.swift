import Core
import Messages
import TestSupport
import Testing

@Suite struct RecordInteractionMessageTests {
  static let id = "01977420-dc00-7abc-8def-0123456789ab"

  /// Every field of parley.v1.Interaction a caller may send, by its number in the schema.
  static let interaction: [UInt8] =
    field(1, text: id)
    + field(2, text: "conversation")
    + field(3, bytes: field(1, varint: 1_750_000_000) + field(2, varint: 123_000_000))
    + field(4, text: "Where is my parcel? ✈️")
    + field(5, text: "On its way.")
    + field(6, bytes: field(1, text: "track") + field(2, double: 0.9))
    + field(6, bytes: field(1, text: "greet"))
    + field(7, text: "gpt-4o")
    + field(8, varint: 1500)
    + field(9, varint: 250)
    + field(10, double: 0.712_345_678_9)
    + field(11, varint: 1)
    + field(12, text: "asked for a person")
    + field(13, text: "voice")
    + field(14, bytes: field(1, varint: 1400) + field(2, varint: 60) + field(3, varint: 1460))
    + field(15, varint: 4_125_001)

  static let draft: InteractionDraft = {
    var draft = InteractionDraft()
    draft.id = id
    draft.createdAt = Timestamp(milliseconds: 1_750_000_000_123)
    draft.content.conversationID = "conversation"
    draft.content.customerMessage = "Where is my parcel? ✈️"
    draft.content.agentResponse = "On its way."
    draft.content.detectedIntents = [Intent(name: "track", confidence: 0.9), Intent(name: "greet", confidence: 0)]
    draft.content.modelUsed = "gpt-4o"
    draft.content.contextSize = 1500
    draft.content.processingTimeMilliseconds = 250
    draft.content.confidenceScore = 0.712_345_678_9
    draft.content.handoffTriggered = true
    draft.content.handoffReason = "asked for a person"
    draft.content.messageType = "voice"
    draft.content.promptTokens = 1400
    draft.content.completionTokens = 60
    draft.totalTokens = 1460
    draft.content.estimatedCostNanos = 4_125_001
    return draft
  }()

  @Test func aRequestHasTheFieldNumbersOfTheSchema() throws {
    let bytes = field(1, bytes: Self.interaction) + field(2, text: "request-1")
    let request = try RecordInteraction(encoded: bytes)
    #expect(request.interaction == Self.draft)
    #expect(request.requestID == "request-1")
    #expect(RecordInteraction(interaction: Self.draft, requestID: "request-1").encoded() == bytes)
  }

  @Test func anyRequestComesBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<300 {
      let (draft, requestID) = (chance.draft(), chance.text(20))
      let request = try RecordInteraction(
        encoded: RecordInteraction(interaction: draft, requestID: requestID).encoded())
      #expect(request.interaction == draft, "seed \(chance.seed)")
      #expect(request.requestID == requestID, "seed \(chance.seed)")
    }
  }

  @Test func whatIsLeftOutIsEmpty() throws {
    let request = try RecordInteraction(encoded: field(1, bytes: []))
    #expect(request.interaction == InteractionDraft())
    #expect(request.requestID == "")
  }

  @Test func anInteractionIsRequired() {
    #expect(violations { _ = try RecordInteraction(encoded: []) } == ["interaction: is missing"])
    #expect(
      violations { _ = try RecordInteraction(encoded: field(2, text: "r")) } == ["interaction: is missing"])
  }

  @Test func unknownFieldsAreSkipped() throws {
    let unknown =
      field(99, varint: -1) + field(100, bytes: [0xff, 0]) + field(101, double: .nan) + varint(102 << 3 | 5)
      + [1, 2, 3, 4] + field(536_870_911, text: "the last number there is")
    let bytes = unknown + field(1, bytes: unknown + Self.interaction + unknown) + unknown
    #expect(try RecordInteraction(encoded: bytes).interaction == Self.draft)
  }

  @Test func theLastOfAFieldGivenTwiceCounts() throws {
    let twice =
      field(1, bytes: field(2, text: "first") + field(8, varint: 1) + field(2, text: "second") + field(8, varint: 2))
    let draft = try RecordInteraction(encoded: twice).interaction
    #expect(draft.content.conversationID == "second")
    #expect(draft.content.contextSize == 2)
  }

  @Test func messagesGivenTwiceAreMerged() throws {
    let twice = field(1, bytes: field(2, text: "c")) + field(1, bytes: field(7, text: "m"))
    let draft = try RecordInteraction(encoded: twice).interaction
    #expect(draft.content.conversationID == "c")
    #expect(draft.content.modelUsed == "m")
  }

  @Test func updatedAtIsTheServersAndIgnored() throws {
    let bytes = field(1, bytes: Self.interaction + field(16, bytes: field(1, varint: .min)))
    #expect(try RecordInteraction(encoded: bytes).interaction == Self.draft)
  }

  @Test(arguments: [0, 1, 999_999] as [Int64]) func digitsFinerThanAMillisecondAreDropped(nanoseconds: Int64) throws {
    let time = field(1, varint: -1) + field(2, varint: 5_000_000 + nanoseconds)
    let draft = try RecordInteraction(encoded: field(1, bytes: field(3, bytes: time))).interaction
    #expect(draft.createdAt == Timestamp(milliseconds: -995))
  }

  @Test func theTimeZeroIsATime() throws {
    let draft = try RecordInteraction(encoded: field(1, bytes: field(3, bytes: []))).interaction
    #expect(draft.createdAt == Timestamp(milliseconds: 0))
  }

  @Test(
    arguments: [
      (253_402_300_800, 0), (-62_135_596_801, 0), (.max, 0), (.min, 0), (0, -1), (0, 1_000_000_000),
      (0, Int64(Int32.max)),
    ] as [(Int64, Int64)])
  func aTimeThatIsNoneIsRefused(seconds: Int64, nanoseconds: Int64) {
    let time = field(1, varint: seconds) + field(2, varint: nanoseconds)
    #expect(
      violations { _ = try RecordInteraction(encoded: field(1, bytes: field(3, bytes: time))) } == [
        "interaction.created_at: is \(seconds) s and \(nanoseconds) ns; allowed are the years 1 to 9999 and 0 to 999999999 ns"
      ])
  }

  // MARK: Text

  static let texts: [(UInt64, String)] = [
    (1, "id"), (2, "conversation_id"), (4, "customer_message"), (5, "agent_response"), (7, "model_used"),
    (12, "handoff_reason"), (13, "message_type"),
  ]

  @Test(arguments: texts, invalidUTF8)
  func textThatIsNotUTF8IsRefusedByTheNameOfItsField(text: (number: UInt64, name: String), bytes: [UInt8]) {
    let request = field(1, bytes: field(text.number, bytes: bytes))
    #expect(
      violations { _ = try RecordInteraction(encoded: request) } == ["interaction.\(text.name): is not valid UTF-8"])
  }

  @Test(arguments: texts, ["\0", "a\0", "\0a", "a\0b"])
  func textWithANULIsRefusedByTheNameOfItsField(text: (number: UInt64, name: String), value: String) {
    let request = field(1, bytes: field(text.number, text: value))
    #expect(
      violations { _ = try RecordInteraction(encoded: request) } == [
        "interaction.\(text.name): holds a NUL character; remove it"
      ])
  }

  @Test func intentsAndRequestIDsAreTextToo() {
    let intents = field(6, bytes: field(1, text: "fine")) + field(6, bytes: field(1, bytes: [0xff]))
    #expect(
      violations { _ = try RecordInteraction(encoded: field(1, bytes: intents)) } == [
        "interaction.detected_intents[1].name: is not valid UTF-8"
      ])
    #expect(
      violations { _ = try RecordInteraction(encoded: field(1, bytes: []) + field(2, text: "\0")) } == [
        "request_id: holds a NUL character; remove it"
      ])
  }

  // MARK: Memory

  @Test func aMillionIntentsAreRefusedUnread() {
    let interaction = field(1, bytes: repeated(0x32, 0, times: 1_000_000))
    let error = #expect(throws: RPCError.self) { _ = try RecordInteraction(encoded: interaction) }
    #expect(error?.reason == .requestMalformed)
    #expect(error?.message.contains("more elements than any limit allows") == true)
  }
}

@Suite struct RecordInteractionsMessageTests {
  @Test func aBatchHasTheFieldNumbersOfTheSchema() throws {
    let whole = RecordInteractionMessageTests.interaction
    let bytes = field(1, bytes: whole) + field(1, bytes: field(2, text: "c"))
    var second = InteractionDraft()
    second.content.conversationID = "c"
    let drafts = [RecordInteractionMessageTests.draft, second]
    #expect(try RecordInteractions(encoded: bytes).interactions == drafts.map { .success($0) })
  }

  @Test func anyBatchComesBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<50 {
      let batch = RecordInteractions(interactions: chance.list(10) { .success($0.draft()) })
      #expect(
        try RecordInteractions(encoded: batch.encoded()).interactions == batch.interactions, "seed \(chance.seed)")
    }
  }

  @Test func oneUnreadableRecordNeverCostsItsNeighbours() throws {
    let good = field(1, bytes: field(2, text: "c"))
    let bytes =
      good + field(1, bytes: field(2, bytes: [0xff])) + good + field(1, bytes: field(3, bytes: field(2, varint: -1)))
      + field(1, bytes: field(6, bytes: field(1, text: "\0"))) + good
    let interactions = try RecordInteractions(encoded: bytes).interactions
    #expect(interactions.map { (try? $0.get())?.content.conversationID } == ["c", nil, "c", nil, nil, "c"])
    #expect(violations { _ = try interactions[1].get() } == ["interactions[1].conversation_id: is not valid UTF-8"])
    #expect(
      violations { _ = try interactions[3].get() } == [
        "interactions[3].created_at: is 0 s and -1 ns; allowed are the years 1 to 9999 and 0 to 999999999 ns"
      ])
    #expect(
      violations { _ = try interactions[4].get() } == [
        "interactions[4].detected_intents[0].name: holds a NUL character; remove it"
      ])
  }

  @Test func whatCouldNotBeReadIsNotWritten() throws {
    let draft = RecordInteractionMessageTests.draft
    let batch = RecordInteractions(interactions: [.success(draft), .failure(.draining), .success(draft)])
    #expect(try RecordInteractions(encoded: batch.encoded()).interactions == [.success(draft), .success(draft)])
  }

  /// Each empty element costs two bytes on the wire and hundreds in memory.
  @Test func twoMillionRecordsAreRefusedUnread() {
    let error = #expect(throws: RPCError.self) {
      _ = try RecordInteractions(encoded: repeated(0x0a, 0, times: 2_000_000))
    }
    #expect(error?.code == .invalidArgument)
    #expect(error?.reason == .requestMalformed)
  }

  @Test(arguments: [0, 0.5]) func theLargestBatchWithinEveryLimitIsRead(confidence: Double) throws {
    var draft = InteractionDraft()
    draft.content.conversationID = "c"
    draft.content.detectedIntents = [Intent](repeating: Intent(name: "i", confidence: confidence), count: 64)
    let batch = RecordInteractions(interactions: [Result](repeating: .success(draft), count: 1000))
    #expect(try RecordInteractions(encoded: batch.encoded()).interactions.count == 1000)
  }

  @Test func theLargestTextsAreRead() throws {
    var draft = InteractionDraft()
    draft.content.customerMessage = String(repeating: "é", count: 32_768)
    draft.content.agentResponse = String(repeating: "x", count: 65_536)
    let batch = RecordInteractions(interactions: [Result](repeating: .success(draft), count: 31))
    #expect(batch.encoded().count < Limits.frameBytesMax)
    #expect(try RecordInteractions(encoded: batch.encoded()).interactions == batch.interactions)
  }
}

@Suite struct RecordedMessageTests {
  static let id = InteractionID(high: 0x0197_7420_dc00_7abc, low: 0x8def_0123_4567_89ab)
  static let time = field(1, varint: 1_750_000_000)

  @Test func anAnswerHasTheFieldNumbersOfTheSchema() throws {
    let bytes = field(1, text: Self.id.description) + field(2, bytes: Self.time) + field(3, varint: 1)
    let recorded = Recorded(id: Self.id, alreadyRecorded: true)
    #expect(recorded.encoded() == bytes)
    #expect(try Recorded(encoded: bytes) == recorded)
  }

  @Test func anAnswerWithoutAnIDIsNone() {
    #expect(violations { _ = try Recorded(encoded: []) } == ["interaction_id: is no UUID"])
  }

  @Test func resultsHaveTheFieldNumbersOfTheSchema() throws {
    let error = RPCError(.alreadyExists, .interactionConflict, "taken")
    let bytes =
      field(1, bytes: field(1, text: Self.id.description) + field(2, bytes: Self.time))
      + field(1, bytes: field(4, bytes: error.encodedStatus()))
      + field(1, bytes: field(1, text: Self.id.description) + field(2, bytes: Self.time) + field(3, varint: 1))
    let results: [Result<Recorded, RPCError>] = [
      .success(Recorded(id: Self.id, alreadyRecorded: false)), .failure(error),
      .success(Recorded(id: Self.id, alreadyRecorded: true)),
    ]
    #expect(results.encoded() == bytes)
    #expect(try [Result<Recorded, RPCError>](encoded: bytes) == results)
  }

  @Test func anyResultsComeBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<200 {
      let results: [Result<Recorded, RPCError>] = chance.list(8) {
        Bool.random(using: &$0) ? .success($0.recorded()) : .failure($0.error())
      }
      #expect(try [Result<Recorded, RPCError>](encoded: results.encoded()) == results, "seed \(chance.seed)")
    }
  }

  /// However much is wrong with a batch, its response arrives: what was recorded must be told.
  @Test func theAnswerToTheWorstBatchFitsAFrame() throws {
    var draft = InteractionDraft()
    // What is told of it is as long as it can be.
    draft.id = String(repeating: "\u{1}", count: 41)
    draft.createdAt = Timestamp(milliseconds: 253_402_300_799_999)
    draft.content.conversationID = String(repeating: "x", count: 129)
    draft.content.modelUsed = String(repeating: "x", count: 129)
    draft.content.handoffReason = String(repeating: "x", count: 257)
    draft.content.confidenceScore = -.greatestFiniteMagnitude
    draft.content.contextSize = .min
    draft.content.processingTimeMilliseconds = .min
    draft.content.estimatedCostNanos = .min
    draft.content.detectedIntents = [Intent](
      repeating: Intent(name: "", confidence: -.greatestFiniteMagnitude), count: 64)
    draft.content.promptTokens = .min
    draft.content.messageType = draft.id
    let batch = RecordInteractions(interactions: [Result](repeating: .success(draft), count: 1000))
    try #require(batch.encoded().count <= Limits.frameBytesMax)
    let results = try batch.checked(tenant: Tenant("airline")!, now: .now)
      .map { $0.map { Recorded(id: $0.id, alreadyRecorded: false) } }
    #expect(results.encoded().count <= Limits.frameBytesMax)
  }
}
