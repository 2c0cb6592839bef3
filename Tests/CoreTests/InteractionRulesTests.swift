import Core
import TestSupport
import Testing

/// The rules an interaction meets before it is recorded.
@Suite struct InteractionRulesTests {
  @Test func aDraftThatMeetsEveryRuleIsLetThroughAsItIs() throws {
    let draft = InteractionDraft.sample(at: now)
    var expected = draft.content
    expected.messageType = "text"
    #expect(violations(of: draft) == [])
    #expect(try checked(draft).content == expected)
    #expect(try checked(draft).updatedAt == nil)
  }

  @Test func onlyTheConversationIsRequired() throws {
    var draft = InteractionDraft()
    #expect(violations(of: draft) == ["interaction.conversation_id: is empty; it is required"])
    draft.content.conversationID = "c"
    #expect(violations(of: draft) == [])
  }

  // MARK: Limits

  struct Limit: Sendable, CustomTestStringConvertible {
    var field: String
    var given: String
    var allowed: @Sendable (inout InteractionDraft) -> Void
    var refused: @Sendable (inout InteractionDraft) -> Void

    init(
      _ field: String, at allowed: @escaping @Sendable (inout InteractionDraft) -> Void,
      past refused: @escaping @Sendable (inout InteractionDraft) -> Void, _ given: String
    ) {
      self.field = field
      self.given = given
      self.allowed = allowed
      self.refused = refused
    }

    var testDescription: String { "\(field) \(given)" }
  }

  static let limits = [
    Limit(
      "conversation_id", at: { $0.content.conversationID = text(128) }, past: { $0.content.conversationID = text(129) },
      "is 129 bytes long; at most 128 are allowed"),
    Limit(
      "customer_message", at: { $0.content.customerMessage = text(65_536) },
      past: { $0.content.customerMessage = text(65_537) }, "is 65537 bytes long; at most 65536 are allowed"),
    Limit(
      "agent_response", at: { $0.content.agentResponse = text(65_536) },
      past: { $0.content.agentResponse = text(65_537) }, "is 65537 bytes long; at most 65536 are allowed"),
    Limit(
      "model_used", at: { $0.content.modelUsed = text(128) }, past: { $0.content.modelUsed = text(129) },
      "is 129 bytes long; at most 128 are allowed"),
    Limit(
      "handoff_reason", at: { $0.content.handoffReason = text(256) }, past: { $0.content.handoffReason = text(257) },
      "is 257 bytes long; at most 256 are allowed"),
    Limit(
      "message_type", at: { $0.content.messageType = text(20) }, past: { $0.content.messageType = text(21) },
      "is \"xxxxxxxxxxxxxxxxxxxxx\"; allowed is a lower-case letter and up to 19 of a-z, 0-9 and _"),
    Limit(
      "detected_intents", at: { $0.content.detectedIntents = intents(64) },
      past: { $0.content.detectedIntents = intents(65) }, "are 65; at most 64 are allowed"),
    Limit(
      "detected_intents[1].name", at: { $0.content.detectedIntents[1].name = text(128) },
      past: { $0.content.detectedIntents[1].name = text(129) }, "is 129 bytes long; at most 128 are allowed"),
    Limit(
      "detected_intents[0].name", at: { $0.content.detectedIntents[0].name = "i" },
      past: { $0.content.detectedIntents[0].name = "" }, "is empty; it is required"),
    Limit(
      "detected_intents[1].confidence", at: { $0.content.detectedIntents[1].confidence = 1 },
      past: { $0.content.detectedIntents[1].confidence = 1.5 }, "is 1.5; allowed is 0 to 1"),
    Limit(
      "confidence_score", at: { $0.content.confidenceScore = 1 },
      past: { $0.content.confidenceScore = (1.0).nextUp }, "is 1.0000000000000002; allowed is 0 to 1"),
    Limit(
      "confidence_score", at: { $0.content.confidenceScore = 0 },
      past: { $0.content.confidenceScore = (0.0).nextDown }, "is -5e-324; allowed is 0 to 1"),
    Limit(
      "context_size", at: { $0.content.contextSize = 0 }, past: { $0.content.contextSize = -1 },
      "is -1; it cannot be negative"),
    Limit(
      "context_size", at: { $0.content.contextSize = .max }, past: { $0.content.contextSize = .min },
      "is -2147483648; it cannot be negative"),
    Limit(
      "processing_time_ms", at: { $0.content.processingTimeMilliseconds = 0 },
      past: { $0.content.processingTimeMilliseconds = -1 }, "is -1; it cannot be negative"),
    Limit(
      "estimated_cost_nanos", at: { $0.content.estimatedCostNanos = 9_000_000_000_000_000 },
      past: { $0.content.estimatedCostNanos = 9_000_000_000_000_001 },
      "is 9000000000000001; allowed is 0 to 9000000000000000"),
    Limit(
      "estimated_cost_nanos", at: { $0.content.estimatedCostNanos = 0 },
      past: { $0.content.estimatedCostNanos = -1 }, "is -1; allowed is 0 to 9000000000000000"),
    Limit(
      "token_usage.prompt_tokens", at: { $0.content.promptTokens = 0 },
      past: { $0.content.promptTokens = -1 }, "is -1; it cannot be negative"),
    Limit(
      "token_usage.completion_tokens", at: { $0.content.completionTokens = 0 },
      past: { $0.content.completionTokens = -1 }, "is -1; it cannot be negative"),
    Limit(
      "token_usage.total_tokens", at: { $0.setTokens(.max - 60, 60) }, past: { $0.setTokens(.max - 60, 61) },
      "prompt_tokens + completion_tokens pass 2147483647"),
  ]

  @Test(arguments: limits) func aLimitIsAllowedAndOnePastItIsRefused(limit: Limit) {
    var draft = InteractionDraft.sample(at: now)
    limit.allowed(&draft)
    #expect(violations(of: draft) == [])
    limit.refused(&draft)
    #expect(violations(of: draft) == ["interaction.\(limit.field): \(limit.given)"])
  }

  @Test func textsAreMeasuredInBytes() {
    var draft = InteractionDraft.sample(at: now)
    draft.content.conversationID = String(repeating: "é", count: 64)
    #expect(violations(of: draft) == [])
    draft.content.conversationID += "x"
    #expect(violations(of: draft) == ["interaction.conversation_id: is 129 bytes long; at most 128 are allowed"])
  }

  @Test(arguments: [Double.nan, -.nan, .signalingNaN, .infinity, -.infinity, -1, 2])
  func confidenceIsANumberFrom0To1(value: Double) {
    var draft = InteractionDraft.sample(at: now)
    draft.content.confidenceScore = value
    draft.content.detectedIntents[1].confidence = value
    #expect(
      violations(of: draft) == [
        "interaction.confidence_score: is \(value); allowed is 0 to 1",
        "interaction.detected_intents[1].confidence: is \(value); allowed is 0 to 1",
      ])
  }

  /// Otherwise a retry that writes zero the other way would be other content.
  @Test func minusZeroBecomesZero() throws {
    var draft = InteractionDraft.sample(at: now)
    draft.content.confidenceScore = -0.0
    draft.content.detectedIntents[1].confidence = -0.0
    let content = try checked(draft).content
    #expect(content.confidenceScore.bitPattern == 0)
    #expect(content.detectedIntents[1].confidence.bitPattern == 0)
  }

  @Test func handoffReasonWithoutHandoffIsRefused() {
    var draft = InteractionDraft.sample(at: now)
    draft.content.handoffTriggered = false
    #expect(
      violations(of: draft) == [
        "interaction.handoff_reason: is given without handoff_triggered; set both or neither"
      ])
    draft.content.handoffReason = ""
    #expect(violations(of: draft) == [])
  }

  @Test func handoffNeedsNoReason() {
    var draft = InteractionDraft.sample(at: now)
    draft.content.handoffReason = ""
    #expect(violations(of: draft) == [])
  }

  // MARK: Message type

  @Test func noMessageTypeMeansText() throws {
    var draft = InteractionDraft.sample(at: now)
    draft.content.messageType = ""
    #expect(try checked(draft).content.messageType == "text")
  }

  @Test(arguments: ["a", "z", "text", "voice_note", "a0", "z9_", "a_", "abcdefghij0123456789"])
  func messageTypeIsKept(type: String) throws {
    var draft = InteractionDraft.sample(at: now)
    draft.content.messageType = type
    #expect(try checked(draft).content.messageType == type)
  }

  @Test(arguments: [
    "Text", "tExt", "1a", "_a", "a-b", "a b", " a", "a ", "é", "aé", "a\u{301}", "ａ", "a{", "a`", "a/", "a:", "A", "@",
    "[",
  ])
  func messageTypeIsLowerCaseLettersDigitsAndUnderscores(type: String) {
    var draft = InteractionDraft.sample(at: now)
    draft.content.messageType = type
    #expect(
      violations(of: draft) == [
        "interaction.message_type: is \"\(type)\"; allowed is a lower-case letter and up to 19 of a-z, 0-9 and _"
      ])
  }

  @Test func whatACallerSentIsRepeatedShortAndOnOneLine() {
    var draft = InteractionDraft.sample(at: now)
    draft.content.messageType = "a\n\"\0" + text(37)
    #expect(
      violations(of: draft) == [
        "interaction.message_type: is \"a\\n\\\"\\0\(text(36))…\"; allowed is a lower-case letter and up to 19 of a-z, 0-9 and _"
      ])
  }

  // MARK: Tokens

  @Test(arguments: [(0, 0, 0), (1400, 60, 0), (1400, 60, 1460), (.max, 0, .max), (0, 7, 7)] as [(Int32, Int32, Int32)])
  func totalTokensAreTheSumAndFilledInWhenZero(prompt: Int32, completion: Int32, total: Int32) throws {
    var draft = InteractionDraft.sample(at: now)
    draft.setTokens(prompt, completion, total: total)
    #expect(try checked(draft).content.totalTokens == prompt + completion)
  }

  @Test(arguments: [(1400, 60, 1461), (1400, 60, 1), (1400, 60, -1460), (0, 0, 1)] as [(Int32, Int32, Int32)])
  func totalTokensThatContradictAreRefused(prompt: Int32, completion: Int32, total: Int32) {
    var draft = InteractionDraft.sample(at: now)
    draft.setTokens(prompt, completion, total: total)
    #expect(
      violations(of: draft) == [
        "interaction.token_usage.total_tokens: is \(total) where prompt_tokens + completion_tokens are \(prompt + completion); send the sum, or 0 to have it filled in"
      ])
  }

  @Test(arguments: [0, 1, .max, .min] as [Int32]) func noTotalFitsASumPast32Bits(total: Int32) {
    var draft = InteractionDraft.sample(at: now)
    draft.setTokens(.max, .max, total: total)
    #expect(
      violations(of: draft) == [
        "interaction.token_usage.total_tokens: prompt_tokens + completion_tokens pass 2147483647"
      ])
  }

  // MARK: Time and identity

  @Test func withoutIDAndTimeTheServerMakesBoth() throws {
    var draft = InteractionDraft.sample()
    draft.createdAt = nil
    let (first, second) = (try checked(draft), try checked(draft))
    #expect(first.id.isVersion7)
    #expect(first.createdAt == now)
    #expect(first.id != second.id)
  }

  @Test(arguments: [0, 1, 1_750_000_000_000, 1_750_086_400_000] as [Int64])
  func withATimeTheServerMakesAnIDOfIt(milliseconds: Int64) throws {
    let interaction = try checked(.sample(at: Timestamp(milliseconds: milliseconds)))
    #expect(interaction.id.isVersion7)
    #expect(interaction.createdAt.milliseconds == milliseconds)
  }

  @Test func withAnIDTheTimeIsTheIDs() throws {
    let id = InteractionID(at: now - 5000)
    var draft = InteractionDraft.sample()
    draft.id = id.description
    draft.createdAt = nil
    #expect(try checked(draft).id == id)
    draft.createdAt = now - 5000
    #expect(try checked(draft).id == id)
  }

  @Test func anIDInUpperCaseIsTheSameID() throws {
    let id = InteractionID(at: now)
    var draft = InteractionDraft.sample(at: now)
    draft.id = id.description.uppercased()
    #expect(try checked(draft).id == id)
  }

  @Test(arguments: [-1, 1] as [Int64]) func idAndTimeThatDisagreeByAMillisecondAreRefused(by difference: Int64) {
    var draft = InteractionDraft.sample(at: now + difference)
    draft.id = InteractionID(at: now).description
    #expect(
      violations(of: draft) == [
        "interaction.created_at: is \(1_750_000_000_000 + difference) ms since 1970 where the id says 1750000000000; they must agree to the millisecond"
      ])
  }

  @Test(arguments: [
    "01977420-dc00-0abc-8def-0123456789ab",
    "01977420-dc00-1abc-8def-0123456789ab",
    "01977420-dc00-2abc-8def-0123456789ab",
    "01977420-dc00-3abc-8def-0123456789ab",
    "01977420-dc00-4abc-8def-0123456789ab",
    "01977420-dc00-5abc-8def-0123456789ab",
    "01977420-dc00-6abc-8def-0123456789ab",
    "01977420-dc00-8abc-8def-0123456789ab",
    "01977420-dc00-7abc-0def-0123456789ab",
    "01977420-dc00-7abc-cdef-0123456789ab",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "01977420dc007abc8def0123456789ab",
    "1",
    " ",
  ])
  func anIDThatIsNoUUIDv7IsRefused(id: String) {
    var draft = InteractionDraft.sample(at: now)
    draft.id = id
    #expect(
      violations(of: draft) == [
        "interaction.id: is \"\(id)\"; allowed is a UUIDv7 in its 36-character form, or nothing"
      ])
  }

  @Test func aTimeBefore1970IsRefused() {
    #expect(violations(of: .sample(at: Timestamp(milliseconds: 0))) == [])
    for milliseconds in [-1, -62_135_596_800_000, .min] as [Int64] {
      #expect(
        violations(of: .sample(at: Timestamp(milliseconds: milliseconds)))
          == ["interaction.created_at: is before 1970"])
    }
  }

  @Test func aTimeMoreThanADayAheadIsRefused() {
    let day: Int64 = 86_400_000
    #expect(violations(of: .sample(at: now + day)) == [])
    #expect(fields(.sample(at: now + day + 1)) == ["interaction.created_at"])
    #expect(fields(.sample(at: Timestamp(milliseconds: 253_402_300_799_999))) == ["interaction.created_at"])
    #expect(
      violations(of: .sample(at: now + 2 * day)) == [
        "interaction.created_at: lies 48 hours ahead of the server; at most 24 hours are allowed"
      ])
  }

  @Test func anIDMoreThanADayAheadIsRefused() {
    let day: Int64 = 86_400_000
    var draft = InteractionDraft.sample()
    draft.createdAt = nil
    draft.id = InteractionID(at: now + day).description
    #expect(violations(of: draft) == [])
    draft.id = InteractionID(at: now + day + 1).description
    #expect(fields(draft) == ["interaction.id"])
    draft.createdAt = now + day + 1
    #expect(fields(draft) == ["interaction.created_at"])
  }

  // MARK: Request ids

  @Test func aRequestIDFindsItselfAgain() throws {
    var other = InteractionDraft.sample(at: now - 1)
    other.content.customerMessage = "Something else"
    let id = try checked(.sample(at: now - 1), requestID: "r-1").id
    #expect(try checked(other, requestID: "r-1").id == id, "the id depends on nothing but time and request_id")
    #expect(id == InteractionID(at: now - 1, requestID: "r-1"))
    #expect(try checked(.sample(at: now), requestID: "r-1").id != id)
    #expect(try checked(.sample(at: now - 1), requestID: "r-2").id != id)
  }

  @Test func aRequestIDNeedsATime() {
    var draft = InteractionDraft.sample()
    draft.createdAt = nil
    #expect(
      violations(of: draft, requestID: "r") == [
        "interaction.created_at: is missing; with request_id the id is derived from both"
      ])
  }

  @Test func aRequestIDBesideAnIDIsRefused() {
    var draft = InteractionDraft.sample(at: now)
    draft.id = InteractionID(at: now).description
    #expect(
      violations(of: draft, requestID: "r") == [
        "request_id: cannot stand beside interaction.id; send one of them"
      ])
  }

  @Test func aRequestIDHasAtMost128Bytes() {
    #expect(violations(of: .sample(at: now), requestID: text(128)) == [])
    #expect(
      violations(of: .sample(at: now), requestID: text(129)) == [
        "request_id: is 129 bytes long; at most 128 are allowed"
      ])
  }

  @Test(arguments: [-1, .min] as [Int64]) func aRequestIDAtAnImpossibleTimeIsRefused(milliseconds: Int64) {
    #expect(
      violations(of: .sample(at: Timestamp(milliseconds: milliseconds)), requestID: "r")
        == ["interaction.created_at: is before 1970"])
  }

  // MARK: All at once

  @Test func everythingWrongIsToldAtOnce() {
    var draft = InteractionDraft.sample(at: Timestamp(milliseconds: -1))
    draft.id = "x"
    draft.content.conversationID = ""
    draft.content.handoffTriggered = false
    draft.content.confidenceScore = .nan
    draft.content.contextSize = -1
    draft.content.detectedIntents = [Intent(name: "", confidence: 2)]
    draft.content.messageType = "!"
    #expect(
      fields(draft) == [
        "interaction.created_at",
        "interaction.id",
        "interaction.conversation_id",
        "interaction.context_size",
        "interaction.confidence_score",
        "interaction.handoff_reason",
        "interaction.detected_intents[0].name",
        "interaction.detected_intents[0].confidence",
        "interaction.message_type",
      ])
  }

  /// The response must fit into the trailers of a gRPC call.
  @Test func atMost16ViolationsAreToldAtOnce() {
    var draft = InteractionDraft.sample(at: now)
    draft.content.detectedIntents = [Intent](repeating: Intent(name: "", confidence: 2), count: 8)
    #expect(fields(draft).count == 16)
    draft.content.detectedIntents += draft.content.detectedIntents
    #expect(fields(draft).count == 16)
    #expect(fields(draft).last == "interaction.detected_intents[7].confidence")
  }

  /// A long list is refused for its length, and read no further than it may be long.
  @Test func pastTheLastAllowedIntentNoneIsLookedAt() {
    var draft = InteractionDraft.sample(at: now)
    draft.content.detectedIntents = intents(1000)
    draft.content.detectedIntents[63].name = ""
    draft.content.detectedIntents[64].name = ""
    #expect(fields(draft) == ["interaction.detected_intents", "interaction.detected_intents[63].name"])
  }
}

private func fields(_ draft: InteractionDraft) -> [String] {
  violations(of: draft).map { String($0.prefix { $0 != ":" }) }
}

private func intents(_ count: Int) -> [Intent] {
  [Intent](repeating: Intent(name: "i", confidence: 0.5), count: count)
}

extension InteractionDraft {
  fileprivate mutating func setTokens(_ prompt: Int32, _ completion: Int32, total: Int32 = 0) {
    content.promptTokens = prompt
    content.completionTokens = completion
    totalTokens = total
  }
}
