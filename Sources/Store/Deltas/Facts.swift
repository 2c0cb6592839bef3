import Domain
import Postgres

/// What interactions are grouped by. Texts are the same when their bytes are.
struct StatsGroupKey: Hashable {
  var modelUsed: String
  var messageType: String
  var handoffTriggered: Bool
  var handoffReason: String

  /// Of sums over all groups.
  static let all = StatsGroupKey(modelUsed: "", messageType: "", handoffTriggered: false, handoffReason: "")

  static func == (a: Self, b: Self) -> Bool {
    a.handoffTriggered == b.handoffTriggered && a.modelUsed.isExactly(b.modelUsed)
      && a.messageType.isExactly(b.messageType) && a.handoffReason.isExactly(b.handoffReason)
  }

  func hash(into hasher: inout Hasher) {
    modelUsed.hashExactly(into: &hasher)
    messageType.hashExactly(into: &hasher)
    handoffReason.hashExactly(into: &hasher)
    hasher.combine(handoffTriggered)
  }
}

/// What one interaction adds to statistics and to postings.
struct Fact {
  var id: InteractionID
  var group: StatsGroupKey
  /// Of its detected intents, each once.
  var intents: [Facet]
  var confidence: Double
  var costNanos: Int64
  var processingTimeMilliseconds: Int32
  var promptTokens: Int32
  var completionTokens: Int32

  var hour: Int32 { id.hour }

  /// The score nearest to one; 0 for no number.
  static func score(_ value: Double) -> Double { value.isNaN ? 0 : min(max(value, 0), 1) }

  var confidenceBin: Int16 { Int16(Self.binEdges.count { confidence >= $0 } - 1) }

  /// The least score of each bin of the histogram.
  static let binEdges = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
}

extension Fact {
  init(_ interaction: Interaction) {
    let content = interaction.content
    self.init(
      id: interaction.id,
      group: StatsGroupKey(
        modelUsed: content.modelUsed, messageType: content.messageType, handoffTriggered: content.handoffTriggered,
        handoffReason: content.handoffReason),
      intents: Facet.intents(content.detectedIntents.lazy.map(\.name)),
      confidence: content.confidenceScore, costNanos: content.estimatedCostNanos,
      processingTimeMilliseconds: content.processingTimeMilliseconds, promptTokens: content.promptTokens,
      completionTokens: content.completionTokens)
  }

  /// From a row of interaction_facts.sql. A number that breaks a rule, which other programs can have written, counts as
  /// the nearest that keeps it; interaction_stats.sql has the same rule.
  init(_ row: Row) throws(PostgresError) {
    self.init(
      id: try row.id(0),
      group: StatsGroupKey(
        modelUsed: try row.text(1), messageType: try row.text(2), handoffTriggered: try row.bool(3),
        handoffReason: try row.text(4)),
      intents: Facet.intents(try row.texts(10)),
      confidence: Self.score(try row.double(5)), costNanos: max(try row.int64(6), 0),
      processingTimeMilliseconds: max(try row.int32(7), 0), promptTokens: max(try row.int32(8), 0),
      completionTokens: max(try row.int32(9), 0))
  }
}

extension InteractionFilter {
  /// Whether a fact is among what this selects, as far as facts can tell: not by conversation, intent or time.
  func selects(_ fact: Fact) -> Bool {
    if let modelUsed, !modelUsed.isExactly(fact.group.modelUsed) { return false }
    if let messageType, !messageType.isExactly(fact.group.messageType) { return false }
    if let handoffTriggered, handoffTriggered != fact.group.handoffTriggered { return false }
    if let handoffReason, !handoffReason.isExactly(fact.group.handoffReason) { return false }
    if let minConfidence, fact.confidence < minConfidence { return false }
    if let maxConfidence, fact.confidence > maxConfidence { return false }
    return true
  }
}

/// A change record: the facts of rows committed together, as `parley.deltas` keeps them until they are merged into the
/// rollups and postings. A group's texts stand once, before the first fact of that group, and so do intents;
/// then numbers alone.
struct FactsWriter {
  private var writer = VarintWriter()
  private var groups: [StatsGroupKey: Int] = [:]
  private var intents: [Facet: Int] = [:]

  var bytes: [UInt8] { writer.bytes }

  mutating func append(_ fact: Fact) {
    if let group = groups[fact.group] {
      writer.add(group)
    } else {
      // The next number tells the reader that a new group's texts follow.
      writer.add(groups.count)
      groups[fact.group] = groups.count
      writer.add(fact.group.modelUsed)
      writer.add(fact.group.messageType)
      writer.add(fact.group.handoffTriggered ? 1 : 0)
      writer.add(fact.group.handoffReason)
    }
    writer.add(fact.id)
    writer.add(fact.intents.count)
    for intent in fact.intents {
      if let known = intents[intent] {
        writer.add(known)
      } else {
        writer.add(intents.count)
        intents[intent] = intents.count
        writer.add(fixed: intent.rawValue)
      }
    }
    writer.add(fact.confidence.bitPattern.byteSwapped)
    writer.add(UInt64(fact.costNanos))
    writer.add(UInt32(fact.processingTimeMilliseconds))
    writer.add(UInt32(fact.promptTokens))
    writer.add(UInt32(fact.completionTokens))
  }
}

enum FactsReader {
  /// A record's first byte is the number of its first group, which is 0; so that byte tells its format, too, and a
  /// newer format begins with another.
  private static let format: UInt8 = 0

  /// The facts of a change record, in order. It counts as a whole or not at all.
  static func facts(_ bytes: UnsafeRawBufferPointer) throws(Unreadable) -> [Fact] {
    if let first = bytes.first, first != format { throw Unreadable(format: first, known: format) }
    guard bytes.count <= Limits.changeRecordBytesMax else { throw .damaged }
    var facts: [Fact] = []
    var reader = VarintReader(bytes)
    var groups: [StatsGroupKey] = []
    var known: [Facet] = []
    while !reader.isAtEnd {
      guard facts.count < Limits.changeRecordFactsMax else { throw .damaged }
      let group = try reader.int(Int.self)
      if group == groups.count {
        groups.append(
          StatsGroupKey(
            modelUsed: try reader.text(), messageType: try reader.text(),
            handoffTriggered: try reader.int(Int.self) == 1,
            handoffReason: try reader.text()))
      }
      guard group < groups.count else { throw .damaged }
      let id = try reader.id()
      var intents: [Facet] = []
      let intentCount = try reader.int(Int.self)
      guard intentCount <= Limits.intentsMax else { throw .damaged }
      for _ in 0..<intentCount {
        let intent = try reader.int(Int.self)
        if intent == known.count { known.append(Facet(rawValue: try reader.fixed())) }
        guard intent < known.count else { throw .damaged }
        intents.append(known[intent])
      }
      facts.append(
        Fact(
          id: id, group: groups[group], intents: intents,
          confidence: Fact.score(Double(bitPattern: try reader.next(UInt64.self).byteSwapped)),
          costNanos: try reader.int(),
          processingTimeMilliseconds: try reader.int(), promptTokens: try reader.int(),
          completionTokens: try reader.int()))
    }
    return facts
  }
}
