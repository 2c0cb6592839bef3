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
struct ChangeEntry {
  var id: InteractionID
  var group: StatsGroupKey
  /// Of its detected intents, each once.
  var intents: [Facet]
  var confidence: Double
  var inputs: MeasureInputs

  var hour: Int32 { id.hour }

  var confidenceBin: Int16 { Int16(Self.binEdges.count { confidence >= $0 } - 1) }

  /// The least score of each bin of the histogram.
  static let binEdges = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
}

extension ChangeEntry {
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

  /// From a row of interaction_entries.sql.
  init(_ row: Row, _ plan: MeasurePlan) throws(PostgresError) {
    self.init(
      id: try row.id(0),
      group: StatsGroupKey(
        modelUsed: try row.text(1), messageType: try row.text(2), handoffTriggered: try row.bool(3),
        handoffReason: try row.text(4)),
      intents: Facet.intents(try row.texts(5)),
      confidence: BoundedColumns.score(try row.double(6)), inputs: try MeasureInputs(row, from: 7, plan))
  }
}

extension InteractionFilter {
  /// Whether an entry is among what this selects, as far as entries can tell: not by conversation, intent or time.
  func selects(_ entry: ChangeEntry) -> Bool {
    if let modelUsed, !modelUsed.isExactly(entry.group.modelUsed) { return false }
    if let messageType, !messageType.isExactly(entry.group.messageType) { return false }
    if let handoffTriggered, handoffTriggered != entry.group.handoffTriggered { return false }
    if let handoffReason, !handoffReason.isExactly(entry.group.handoffReason) { return false }
    if let minConfidence, entry.confidence < minConfidence { return false }
    if let maxConfidence, entry.confidence > maxConfidence { return false }
    return true
  }
}

/// A change record: the entries of rows committed together, as `parley.deltas` keeps them until they are merged into the
/// rollups and postings. A group's texts stand once, before the first entry of that group, and so do intents;
/// then numbers alone.
struct ChangeRecordWriter {
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

  mutating func append(_ entry: ChangeEntry) {
    if let group = groups[entry.group] {
      writer.add(group)
    } else {
      // The next number tells the reader that a new group's texts follow.
      writer.add(groups.count)
      groups[entry.group] = groups.count
      writer.add(entry.group.modelUsed)
      writer.add(entry.group.messageType)
      writer.add(entry.group.handoffTriggered ? 1 : 0)
      writer.add(entry.group.handoffReason)
    }
    writer.add(entry.id)
    writer.add(entry.intents.count)
    for intent in entry.intents {
      if let known = intents[intent] {
        writer.add(known)
      } else {
        writer.add(intents.count)
        intents[intent] = intents.count
        writer.add(fixed: intent.rawValue)
      }
    }
    writer.add(entry.confidence.bitPattern.byteSwapped)
    entry.inputs.write(to: &writer, plan)
  }
}

enum ChangeRecordReader {
  /// The entries of a change record, in order. It counts as a whole or not at all.
  static func entries(_ bytes: UnsafeRawBufferPointer, _ plan: MeasurePlan) throws(Unreadable) -> [ChangeEntry] {
    let generation = try bytes.first.map { (format) throws(Unreadable) in try plan.generation(ofChangeRecord: format) }
    guard let generation else { return [] }
    guard bytes.count <= Limits.changeRecordBytesMax else { throw .damaged }
    var entries: [ChangeEntry] = []
    var reader = VarintReader(bytes)
    if generation > 0 { _ = try reader.next(UInt8.self) }
    var groups: [StatsGroupKey] = []
    var known: [Facet] = []
    while !reader.isAtEnd {
      guard entries.count < Limits.changeRecordEntriesMax else { throw .damaged }
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
      entries.append(
        ChangeEntry(
          id: id, group: groups[group], intents: intents,
          confidence: BoundedColumns.score(Double(bitPattern: try reader.next(UInt64.self).byteSwapped)),
          inputs: try MeasureInputs(&reader, generation: generation, plan)))
    }
    return entries
  }
}
