import Core

// What the store should answer, from interactions in memory and by other means than its own.

private func same(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }

extension InteractionFilter {
  func selects(_ interaction: Interaction) -> Bool {
    let content = interaction.content
    if let conversationID, !same(conversationID, content.conversationID) { return false }
    if let modelUsed, !same(modelUsed, content.modelUsed) { return false }
    if let messageType, !same(messageType, content.messageType) { return false }
    if let handoffTriggered, handoffTriggered != content.handoffTriggered { return false }
    if let handoffReason, !same(handoffReason, content.handoffReason) { return false }
    if let minConfidence, content.confidenceScore < minConfidence { return false }
    if let maxConfidence, content.confidenceScore > maxConfidence { return false }
    if let intent, !content.detectedIntents.contains(where: { same($0.name, intent) }) { return false }
    if let startTime, interaction.createdAt < startTime { return false }
    if let endTime, interaction.createdAt >= endTime { return false }
    return true
  }
}

extension Stats {
  init(of interactions: [Interaction]) {
    self.init()
    for content in interactions.map(\.content) {
      totalInteractions += 1
      totalCostNanos += content.estimatedCostNanos
      confidenceMicros += Int64((content.confidenceScore * 1_000_000).rounded(.toNearestOrEven))
      handoffCount += content.handoffTriggered ? 1 : 0
      processingTimeMilliseconds += Int64(content.processingTimeMilliseconds)
      promptTokens += Int64(content.promptTokens)
      completionTokens += Int64(content.completionTokens)
      let edges = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
      confidenceHistogram[edges.count { content.confidenceScore >= $0 }] += 1
    }
    let times = interactions.map { Int64($0.content.processingTimeMilliseconds) }.sorted()
    // Nearest rank: the least value that at least so many percent do not pass.
    func percentile(_ percent: Int) -> Int64 {
      times.isEmpty ? 0 : times[(times.count * percent + 99) / 100 - 1]
    }
    p50 = percentile(50)
    p95 = percentile(95)
    p99 = percentile(99)
  }
}

extension StatsReport {
  init(of interactions: [Interaction], for query: GetStats.Checked) {
    self.init(start: query.start, end: query.end)
    var filter = query.filter
    filter.startTime = query.start
    filter.endTime = query.end
    let selected = interactions.filter(filter.selects)
    totals = Stats(of: selected)
    byModel = groups(of: selected, by: \.modelUsed)
    byMessageType = groups(of: selected, by: \.messageType)
    byHandoffReason = groups(of: selected.filter(\.content.handoffTriggered), by: \.handoffReason)
    if let width = query.interval?.milliseconds {
      series = Dictionary(grouping: selected) { $0.createdAt.milliseconds / width * width }
        .map { StatsPoint(start: Timestamp(milliseconds: $0.key), stats: Stats(of: $0.value)) }
        .sorted { $0.start < $1.start }
    }
  }

  /// Equal, and the groups' keys byte for byte.
  func isExactly(_ other: StatsReport) -> Bool {
    func keys(_ report: StatsReport) -> [[UInt8]] {
      (report.byModel + report.byMessageType + report.byHandoffReason).map { Array($0.key.utf8) }
    }
    return self == other && keys(self) == keys(other)
  }
}

/// The most frequent first, equals by the bytes of their key; past a thousand, the rest together.
private func groups(of interactions: [Interaction], by key: KeyPath<InteractionContent, String>) -> [StatsGroup] {
  let sorted = Dictionary(grouping: interactions) { Array($0.content[keyPath: key].utf8) }
    .sorted { a, b in
      a.value.count == b.value.count ? a.key.lexicographicallyPrecedes(b.key) : a.value.count > b.value.count
    }
  let told = sorted.count > 1000 ? sorted.prefix(999) : sorted[...]
  let rest = sorted.dropFirst(told.count).flatMap(\.value)
  return told.map { StatsGroup(key: String(decoding: $0.key, as: UTF8.self), stats: Stats(of: $0.value)) }
    + (rest.isEmpty ? [] : [StatsGroup(key: "", stats: Stats(of: rest), isRemainder: true)])
}
