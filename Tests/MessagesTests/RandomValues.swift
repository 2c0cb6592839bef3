import Core
import TestSupport

extension SeededGenerator {
  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
  }

  /// Text of up to that many characters, some of several bytes.
  mutating func text(_ count: Int) -> String {
    let characters = Array("abcXYZ012 _-\"'\\\n\t%éß漢✈️👩‍👩‍👧\u{301}\u{7f}\u{80}\u{10ffff}")
    return String((0..<Int.random(in: 0...count, using: &self)).map { _ in characters.randomElement(using: &self)! })
  }

  mutating func perhaps<T>(_ make: (inout SeededGenerator) -> T) -> T? {
    Bool.random(using: &self) ? make(&self) : nil
  }

  mutating func list<T>(_ count: Int, _ make: (inout SeededGenerator) -> T) -> [T] {
    (0..<Int.random(in: 0...count, using: &self)).map { _ in make(&self) }
  }

  /// Edges as often as anything between them.
  mutating func integer<T: FixedWidthInteger & Sendable>(_ range: ClosedRange<T>) -> T {
    switch Int.random(in: 0...4, using: &self) {
    case 0: range.lowerBound
    case 1: range.upperBound
    case 2 where range.contains(0): 0
    default: .random(in: range, using: &self)
    }
  }

  mutating func double() -> Double {
    [0, 1, 0.5, -1, .infinity, .leastNonzeroMagnitude, .random(in: 0...1, using: &self)].randomElement(using: &self)!
  }

  /// A time that `google.protobuf.Timestamp` can tell.
  mutating func time() -> Timestamp {
    Timestamp(milliseconds: integer(-62_135_596_800_000...253_402_300_799_999))
  }

  mutating func id() -> InteractionID {
    InteractionID(high: next() & ~0xf000 | 0x7000, low: next() >> 2 | 1 << 63)
  }

  mutating func content(tokens: ClosedRange<Int32>) -> InteractionContent {
    var content = InteractionContent()
    content.conversationID = text(30)
    content.customerMessage = text(200)
    content.agentResponse = text(200)
    content.detectedIntents = list(4) { Intent(name: $0.text(10), confidence: $0.double()) }
    content.modelUsed = text(10)
    content.contextSize = integer(.min ... .max)
    content.processingTimeMilliseconds = integer(.min ... .max)
    content.confidenceScore = double()
    content.handoffTriggered = .random(using: &self)
    content.handoffReason = text(10)
    content.messageType = text(10)
    content.promptTokens = integer(tokens)
    content.completionTokens = integer(tokens)
    content.estimatedCostNanos = integer(.min ... .max)
    return content
  }

  /// Readable; whether it meets the rules is another matter.
  mutating func draft() -> InteractionDraft {
    var draft = InteractionDraft()
    draft.id = Bool.random(using: &self) ? text(40) : id().description
    draft.createdAt = perhaps { $0.time() }
    draft.content = content(tokens: .min ... .max)
    draft.totalTokens = integer(.min ... .max)
    return draft
  }

  mutating func interaction() -> Interaction {
    Interaction(id: id(), content: content(tokens: 0...(.max / 2)), updatedAt: perhaps { $0.time() })
  }

  mutating func filter() -> InteractionFilter {
    var filter = InteractionFilter()
    filter.conversationID = perhaps { $0.text(10) }
    filter.modelUsed = perhaps { $0.text(10) }
    filter.messageType = perhaps { $0.text(10) }
    filter.handoffTriggered = perhaps { .random(using: &$0) }
    filter.handoffReason = perhaps { $0.text(10) }
    filter.minConfidence = perhaps { $0.double() }
    filter.maxConfidence = perhaps { $0.double() }
    filter.intent = perhaps { $0.text(10) }
    filter.startTime = perhaps { $0.time() }
    filter.endTime = perhaps { $0.time() }
    return filter
  }

  /// As a client may be told it: without the cause, that stays in the server.
  mutating func error() -> RPCError {
    RPCError(
      RPCError.Code.allCases.randomElement(using: &self)!, RPCError.Reason(rawValue: text(10)), text(50),
      violations: list(4) { .init(field: $0.text(20), description: $0.text(40)) },
      metadata: Dictionary(list(3) { ($0.text(8), $0.text(8)) }) { first, _ in first },
      retryAfter: perhaps { .nanoseconds($0.integer(0...5_000_000_000)) })
  }

  mutating func recorded() -> Recorded {
    Recorded(id: id(), alreadyRecorded: .random(using: &self))
  }

  mutating func stats() -> Stats {
    var stats = Stats()
    stats.totalInteractions = integer(0...1_000_000_000)
    stats.totalCostNanos = integer(0 ... .max)
    stats.confidenceMicros = .random(in: 0...stats.totalInteractions * 1_000_000, using: &self)
    stats.handoffCount = integer(0...stats.totalInteractions)
    stats.processingTimeMilliseconds = .random(in: 0...stats.totalInteractions * 1_000_000, using: &self)
    stats.p50 = integer(0...Int64(Int32.max))
    stats.p95 = integer(0...Int64(Int32.max))
    stats.p99 = integer(0...Int64(Int32.max))
    stats.promptTokens = integer(0...(.max / 2))
    stats.completionTokens = integer(0...(.max / 2))
    stats.confidenceHistogram = (0..<10).map { _ in integer(0 ... .max) }
    return stats
  }

  mutating func report() -> StatsReport {
    var report = StatsReport(start: time(), end: time())
    report.totals = stats()
    let group = { (chance: inout SeededGenerator) in
      StatsGroup(key: chance.text(20), stats: chance.stats(), isRemainder: .random(using: &chance))
    }
    report.byModel = list(4, group)
    report.byMessageType = list(4, group)
    report.byHandoffReason = list(4, group)
    report.series = list(4) { StatsPoint(start: $0.time(), stats: $0.stats()) }
    return report
  }

  /// Some bytes changed, put in, taken out or repeated.
  mutating func mutated(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...6, using: &self) {
      let place = Int.random(in: 0...bytes.count, using: &self)
      let end = min(bytes.count, place + .random(in: 1...8, using: &self))
      switch Int.random(in: 0...5, using: &self) {
      case 0 where place < end: bytes[place] = UInt8(truncatingIfNeeded: next())
      case 1 where place < end: bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &self)
      case 2: bytes.insert([0, 1, 0x7f, 0x80, 0xff].randomElement(using: &self)!, at: place)
      case 3: bytes.removeSubrange(place..<end)
      case 4: bytes.insert(contentsOf: bytes[place..<end], at: place)
      default: bytes.removeLast(min(bytes.count, .random(in: 0...3, using: &self)))
      }
    }
    return bytes
  }
}
