import Core
import TestSupport

/// Values few enough to meet each other, awkward enough to find mistakes.
private enum Pool {
  static let conversations = ["c", "C", "c1", "caf\u{e9}", "cafe\u{301}", "対話", "100%_\\"]
  static let models = ["", "gpt-4o", "gpt-4o-mini", "claude", "\u{e9}", "e\u{301}"]
  static let messageTypes = ["text", "voice", "a_1"]
  static let handoffReasons = ["", "asked", "Asked", "angry 😠", "\u{e9}", "e\u{301}"]
  static let intents = ["track", "greet", "NULL", "a,b", "{}", "\"quoted\"", "back\\slash", " ", "e\u{301}", "\u{e9}"]
  /// The histogram's edges and their neighbours, the edge of high confidence, and halves of a millionth.
  static let scores: [Double] =
    [0, 0.1, 0.2, 0.3, 0.7, 0.9, 0.9999, 1].flatMap { [$0, $0.nextDown, $0.nextUp] }.filter { (0...1).contains($0) }
    + [0.000_000_5, 0.000_001_5, 0.000_002_5, 0.123_456_5, .leastNonzeroMagnitude]
  static let texts = ["", " ", "Where is my parcel? ✈️", "line\nline\r\n\ttab", "'; DROP TABLE x; --", "\u{10FFFF}"]
}

extension SeededGenerator {
  mutating func pick<T>(_ values: [T]) -> T { values.randomElement(using: &self)! }

  mutating func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &self) < probability }

  mutating func content() -> InteractionContent {
    var content = InteractionContent()
    content.conversationID = pick(Pool.conversations)
    content.customerMessage = pick(Pool.texts) + pick(Pool.texts)
    content.agentResponse = pick(Pool.texts)
    content.detectedIntents = (0..<Int.random(in: 0...3, using: &self)).map { _ in
      Intent(name: pick(Pool.intents), confidence: score())
    }
    content.modelUsed = pick(Pool.models)
    content.contextSize = count()
    content.processingTimeMilliseconds = chance(0.2) ? count() : .random(in: 0...20, using: &self)
    content.confidenceScore = score()
    content.handoffTriggered = chance(0.4)
    content.handoffReason = content.handoffTriggered ? pick(Pool.handoffReasons) : ""
    content.messageType = pick(Pool.messageTypes)
    content.promptTokens = chance(0.1) ? .max - 1000 : .random(in: 0...10_000, using: &self)
    content.completionTokens = .random(in: 0...1000, using: &self)
    content.estimatedCostNanos = .random(in: 0...(chance(0.1) ? Limits.costNanosMax : 5_000_000), using: &self)
    return content
  }

  private mutating func score() -> Double {
    chance(0.5) ? pick(Pool.scores) : .random(in: 0...1, using: &self)
  }

  private mutating func count() -> Int32 {
    chance(0.1) ? pick([0, 1, .max]) : .random(in: 0...100_000, using: &self)
  }

  /// Any id of that time.
  mutating func id(at time: Timestamp) -> InteractionID {
    InteractionID(
      high: InteractionID(lowerBound: time).high | 0x7000 | next() & 0x0fff, low: 1 << 63 | next() >> 2)
  }

  mutating func interaction(at time: Timestamp) -> Interaction {
    Interaction(id: id(at: time), content: content())
  }

  /// The months of the random data: on both sides of the first month that has a partition of its own.
  static let dataStart = Timestamp("2019-11-15T00:00:00.000Z")
  static let dataEnd = Timestamp("2020-03-15T00:00:00.000Z")

  /// Moments within those months, so few that interactions share them, the months' edges among them.
  mutating func times(_ count: Int) -> [Timestamp] {
    [
      Timestamp("2019-12-31T23:59:59.999Z"), Timestamp("2020-01-01T00:00:00.000Z"),
      Timestamp("2020-02-29T23:59:59.999Z"), Timestamp("2020-03-01T00:00:00.000Z"),
    ] + (0..<count).map { _ in time() }
  }

  mutating func time() -> Timestamp {
    Timestamp(
      milliseconds: .random(in: Self.dataStart.milliseconds..<Self.dataEnd.milliseconds, using: &self))
  }

  /// A filter with each field present by chance; the fewer the likelier.
  mutating func filter() -> InteractionFilter {
    var filter = InteractionFilter()
    let presence = pick([0.0, 0.1, 0.2, 0.4])
    if chance(presence) { filter.conversationID = pick(Pool.conversations + ["unheard of", ""]) }
    if chance(presence) { filter.modelUsed = pick(Pool.models) }
    if chance(presence) { filter.messageType = pick(Pool.messageTypes) }
    if chance(presence) { filter.handoffTriggered = chance(0.5) }
    if chance(presence) { filter.handoffReason = pick(Pool.handoffReasons) }
    if chance(presence) { filter.minConfidence = score() }
    if chance(presence) { filter.maxConfidence = score() }
    if let least = filter.minConfidence, let most = filter.maxConfidence, least > most {
      (filter.minConfidence, filter.maxConfidence) = (most, least)
    }
    if chance(presence) { filter.intent = pick(Pool.intents) }
    if chance(presence) { filter.startTime = time() }
    if chance(presence) { filter.endTime = time() }
    if let start = filter.startTime, let end = filter.endTime, start >= end {
      (filter.startTime, filter.endTime) = (end, start + 1)
    }
    return filter
  }
}
