import Core
import Testing

@Suite struct InteractionFilterTests {
  typealias Change = @Sendable (inout InteractionFilter) -> Void

  @Test func aFilterOfNothingIsAllowed() {
    #expect(violations(of: InteractionFilter()) == [])
  }

  struct Limit: Sendable, CustomTestStringConvertible {
    var allowed: Change
    var refused: Change
    var violation: String

    init(at allowed: @escaping Change, past refused: @escaping Change, _ violation: String) {
      self.allowed = allowed
      self.refused = refused
      self.violation = violation
    }

    var testDescription: String { violation }
  }

  static let limits = [
    Limit(
      at: { $0.conversationID = text(128) }, past: { $0.conversationID = text(129) },
      "filter.conversation_id: is 129 bytes long; at most 128 are allowed"),
    Limit(
      at: { $0.modelUsed = text(128) }, past: { $0.modelUsed = text(129) },
      "filter.model_used: is 129 bytes long; at most 128 are allowed"),
    Limit(
      at: { $0.handoffReason = text(256) }, past: { $0.handoffReason = text(257) },
      "filter.handoff_reason: is 257 bytes long; at most 256 are allowed"),
    Limit(
      at: { $0.intent = text(128) }, past: { $0.intent = text(129) },
      "filter.intent: is 129 bytes long; at most 128 are allowed"),
    Limit(
      at: { $0.messageType = text(20) }, past: { $0.messageType = "" },
      "filter.message_type: is \"\"; allowed is a lower-case letter and up to 19 of a-z, 0-9 and _"),
    Limit(
      at: { $0.minConfidence = 1 }, past: { $0.minConfidence = (1.0).nextUp },
      "filter.min_confidence: is 1.0000000000000002; allowed is 0 to 1"),
    Limit(
      at: { $0.maxConfidence = 0 }, past: { $0.maxConfidence = -0.5 },
      "filter.max_confidence: is -0.5; allowed is 0 to 1"),
    Limit(
      at: { $0.minConfidence = 0 }, past: { $0.minConfidence = .nan },
      "filter.min_confidence: is nan; allowed is 0 to 1"),
    Limit(
      at: { $0.maxConfidence = 1 }, past: { $0.maxConfidence = .infinity },
      "filter.max_confidence: is inf; allowed is 0 to 1"),
    Limit(
      at: { ($0.minConfidence, $0.maxConfidence) = (0.5, 0.5) },
      past: { ($0.minConfidence, $0.maxConfidence) = (0.75, 0.5) },
      "filter.min_confidence: is 0.75, above max_confidence 0.5"),
    Limit(
      at: { ($0.startTime, $0.endTime) = (now, now) }, past: { ($0.startTime, $0.endTime) = (now + 1, now) },
      "filter.start_time: is after end_time"),
  ]

  @Test(arguments: limits) func aLimitIsAllowedAndOnePastItIsRefused(limit: Limit) {
    var filter = InteractionFilter()
    limit.allowed(&filter)
    #expect(violations(of: filter) == [])
    limit.refused(&filter)
    #expect(violations(of: filter) == [limit.violation])
  }

  /// A reader may ask for what has no model, and gets that.
  @Test func emptyTextsAreAllowed() {
    var filter = InteractionFilter()
    filter.conversationID = ""
    filter.modelUsed = ""
    filter.handoffReason = ""
    filter.intent = ""
    #expect(violations(of: filter) == [])
  }

  @Test func everythingWrongIsToldAtOnce() {
    var filter = InteractionFilter()
    filter.modelUsed = text(129)
    filter.messageType = "?"
    filter.minConfidence = 3
    filter.maxConfidence = 2
    filter.startTime = now
    filter.endTime = now - 1
    #expect(
      violations(of: filter) == [
        "filter.model_used: is 129 bytes long; at most 128 are allowed",
        "filter.message_type: is \"?\"; allowed is a lower-case letter and up to 19 of a-z, 0-9 and _",
        "filter.min_confidence: is 3.0; allowed is 0 to 1",
        "filter.max_confidence: is 2.0; allowed is 0 to 1",
        "filter.min_confidence: is 3.0, above max_confidence 2.0",
        "filter.start_time: is after end_time",
      ])
  }

  private func violations(of filter: InteractionFilter) -> [String] {
    let (list, stats) = (
      CoreTests.violations(of: ListInteractions(filter: filter)), CoreTests.violations(of: GetStats(filter: filter))
    )
    #expect(list == stats, "lists and statistics filter alike")
    return list
  }
}
