import Domain

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

  /// From a row of interaction_facts.sql. What breaks a rule, which other programs can have written, counts as the
  /// nearest that keeps it.
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

/// The facts of rows committed together, as `parley.deltas` keeps them until they are folded into the
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

  /// The facts that bytes hold, in order.
  static func read(_ bytes: UnsafeRawBufferPointer, _ body: (Fact) -> Void) throws(PostgresError) {
    var reader = VarintReader(bytes)
    var groups: [StatsGroupKey] = []
    var known: [Facet] = []
    while !reader.isAtEnd {
      let group = try reader.int(Int.self)
      if group == groups.count {
        groups.append(
          StatsGroupKey(
            modelUsed: try reader.text(), messageType: try reader.text(),
            handoffTriggered: try reader.int(Int.self) == 1,
            handoffReason: try reader.text()))
      }
      guard group < groups.count else {
        throw PostgresError(kind: .unexpectedAnswer, message: "facts of an unknown group")
      }
      let id = try reader.id()
      var intents: [Facet] = []
      for _ in 0..<(try reader.int(UInt16.self)) {
        let intent = try reader.int(Int.self)
        if intent == known.count { known.append(Facet(rawValue: try reader.fixed())) }
        guard intent < known.count else {
          throw PostgresError(kind: .unexpectedAnswer, message: "facts of an unknown intent")
        }
        intents.append(known[intent])
      }
      body(
        Fact(
          id: id, group: groups[group], intents: intents,
          confidence: Fact.score(Double(bitPattern: try reader.next(UInt64.self).byteSwapped)),
          costNanos: try reader.int(),
          processingTimeMilliseconds: try reader.int(), promptTokens: try reader.int(),
          completionTokens: try reader.int()))
    }
  }
}
