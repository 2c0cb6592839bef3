import Core
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
  var inputs: MeasureInputs

  var hour: Int32 { id.hour }

  /// The score nearest to one; 0 for no number.
  static func score(_ value: Double) -> Double { value.isNaN ? 0 : min(max(value, 0), 1) }

  var confidenceBin: Int16 { Int16(Self.binEdges.count { confidence >= $0 } - 1) }

  /// The least score of each bin of the histogram.
  static let binEdges = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
}

extension Fact {
  init(_ interaction: Interaction, _ plan: MeasurePlan) {
    let content = interaction.content
    self.init(
      id: interaction.id,
      group: StatsGroupKey(
        modelUsed: content.modelUsed, messageType: content.messageType, handoffTriggered: content.handoffTriggered,
        handoffReason: content.handoffReason),
      intents: Facet.intents(content.detectedIntents.lazy.map(\.name)),
      confidence: content.confidenceScore, inputs: MeasureInputs(interaction, plan))
  }

  /// From a row of interaction_facts.sql.
  init(_ row: Row, _ plan: MeasurePlan) throws(PostgresError) {
    self.init(
      id: try row.id(0),
      group: StatsGroupKey(
        modelUsed: try row.text(1), messageType: try row.text(2), handoffTriggered: try row.bool(3),
        handoffReason: try row.text(4)),
      intents: Facet.intents(try row.texts(5)),
      confidence: Self.score(try row.double(6)), inputs: try MeasureInputs(row, from: 7, plan))
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
  private let plan: MeasurePlan
  private var writer = VarintWriter()
  private var groups: [StatsGroupKey: Int] = [:]
  private var intents: [Facet: Int] = [:]

  init(_ plan: MeasurePlan) {
    self.plan = plan
    // In the first generation the number of the first group, 0, stands for it.
    if plan.written > 0 { writer.add(plan.written) }
  }

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
    fact.inputs.write(to: &writer, plan)
  }
}

enum FactsReader {
  /// The facts of a change record, in order. It counts as a whole or not at all.
  static func facts(_ bytes: UnsafeRawBufferPointer, _ plan: MeasurePlan) throws(Unreadable) -> [Fact] {
    let generation = try bytes.first.map { (format) throws(Unreadable) in try plan.generation(ofChangeRecord: format) }
    guard let generation else { return [] }
    guard bytes.count <= Limits.changeRecordBytesMax else { throw .damaged }
    var facts: [Fact] = []
    var reader = VarintReader(bytes)
    if generation > 0 { _ = try reader.next(UInt8.self) }
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
          inputs: try MeasureInputs(&reader, generation: generation, plan)))
    }
    return facts
  }
}
