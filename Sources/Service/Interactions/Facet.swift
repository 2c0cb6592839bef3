import Core

/// A field and a value that interactions have, as a number: what postings are kept by.
///
/// Two facets can have the same number, by a chance of 2⁻⁶⁴. So a facet says where to look, not what is there.
struct Facet: RawRepresentable, Hashable {
  let rawValue: Int64

  private enum Field: UInt8 {
    case modelUsed, messageType, handoffTriggered, handoffReason, intent, confidence
  }

  init(rawValue: Int64) {
    self.rawValue = rawValue
  }

  /// FNV-1a over the field and the value's bytes (draft-eastlake-fnv), which is the same for all time.
  private init(_ field: Field, _ value: some Sequence<UInt8>) {
    var hash = (0xcbf2_9ce4_8422_2325 ^ UInt64(field.rawValue)) &* 0x100_0000_01b3
    for byte in value { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    rawValue = Int64(bitPattern: hash)
  }

  static func modelUsed(_ name: String) -> Facet { Facet(.modelUsed, name.utf8) }
  static func messageType(_ name: String) -> Facet { Facet(.messageType, name.utf8) }
  static func handoffTriggered(_ value: Bool) -> Facet { Facet(.handoffTriggered, CollectionOfOne(value ? 1 : 0)) }
  /// nil for no reason, which most interactions have.
  static func handoffReason(_ text: String) -> Facet? { text.isEmpty ? nil : Facet(.handoffReason, text.utf8) }
  static func intent(_ name: String) -> Facet { Facet(.intent, name.utf8) }

  /// Each once; of no more names than an interaction may have.
  static func intents(_ names: some Sequence<String>) -> [Facet] {
    var facets: [Facet] = []
    for name in names.prefix(Limits.intentsMax) {
      let facet = intent(name)
      if !facets.contains(facet) { facets.append(facet) }
    }
    return facets
  }

  /// The bin of a confidence score.
  static func confidence(_ score: Double) -> Facet {
    Facet(.confidence, CollectionOfOne(confidenceBin(score)))
  }

  /// Every bin that scores of that range can be in.
  static func confidences(_ range: ClosedRange<Double>) -> [Facet] {
    (confidenceBin(range.lowerBound)...confidenceBin(range.upperBound)).map { Facet(.confidence, CollectionOfOne($0)) }
  }

  /// Bounds people ask for: hundredths, and thousandths at the ends, where rare scores are.
  private static let confidenceEdges =
    (0..<10).map { Double($0) / 1000 } + (1..<99).map { Double($0) / 100 } + (990...1000).map { Double($0) / 1000 }

  /// For each edge one of that very score, and one up to the next: so a range between edges has bins of its
  /// own, its ends included.
  private static func confidenceBin(_ score: Double) -> UInt8 {
    var (low, high) = (0, confidenceEdges.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if confidenceEdges[middle] <= score { low = middle } else { high = middle }
    }
    return UInt8(2 * low + (score > confidenceEdges[low] ? 1 : 0))
  }
}

extension ChangeEntry {
  var facets: [Facet] {
    var facets = intents
    facets.append(.modelUsed(group.modelUsed))
    facets.append(.messageType(group.messageType))
    facets.append(.handoffTriggered(group.handoffTriggered))
    if let reason = Facet.handoffReason(group.handoffReason) { facets.append(reason) }
    facets.append(.confidence(confidence))
    return facets
  }
}

extension InteractionFilter {
  /// For each field that is set, the facets of which an interaction has one if the filter selects it.
  var facets: [[Facet]] {
    var facets: [[Facet]] = []
    if let modelUsed { facets.append([.modelUsed(modelUsed)]) }
    if let messageType { facets.append([.messageType(messageType)]) }
    if let handoffTriggered { facets.append([.handoffTriggered(handoffTriggered)]) }
    if let handoffReason, let facet = Facet.handoffReason(handoffReason) { facets.append([facet]) }
    if let intent { facets.append([.intent(intent)]) }
    if minConfidence != nil || maxConfidence != nil {
      facets.append(Facet.confidences((minConfidence ?? 0)...(maxConfidence ?? 1)))
    }
    return facets
  }
}
