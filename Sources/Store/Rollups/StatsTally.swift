import Domain

/// Adds up facts and sums into the parts of a report.
struct StatsTally {
  private let query: GetStats.Checked
  private(set) var totals = Sums()
  private var byModel: [ExactText: Sums] = [:]
  private var byMessageType: [ExactText: Sums] = [:]
  private var byHandoffReason: [ExactText: Sums] = [:]
  private var points: [Int64: Sums] = [:]

  init(_ query: GetStats.Checked) {
    self.query = query
  }

  /// Adds a fact, if the query selects it.
  mutating func add(_ fact: Fact) {
    guard query.start <= fact.id.time, fact.id.time < query.end, query.filter.selects(fact) else { return }
    var sums = Sums()
    sums.add(fact)
    add(sums, of: fact.group)
    addToSeries(sums, hour: fact.hour)
  }

  mutating func add(_ sums: Sums, of group: StatsGroupKey) {
    totals.merge(sums)
    byModel[ExactText(group.modelUsed), default: Sums()].merge(sums)
    byMessageType[ExactText(group.messageType), default: Sums()].merge(sums)
    if group.handoffTriggered { byHandoffReason[ExactText(group.handoffReason), default: Sums()].merge(sums) }
  }

  mutating func addToSeries(_ sums: Sums, hour: Int32) {
    guard let width = query.interval?.milliseconds else { return }
    points[Int64(hour) * .millisecondsPerHour / width * width, default: Sums()].merge(sums)
  }

  func report() throws(PostgresError) -> StatsReport {
    var report = StatsReport(start: query.start, end: query.end)
    report.totals = try totals.stats()
    report.byModel = try Self.groups(byModel)
    report.byMessageType = try Self.groups(byMessageType)
    report.byHandoffReason = try Self.groups(byHandoffReason)
    for (start, sums) in points.sorted(by: { $0.key < $1.key }) {
      report.series.append(StatsPoint(start: Timestamp(milliseconds: start), stats: try sums.stats()))
    }
    return report
  }

  /// Most interactions first, then by the bytes of the key; past the most that are told, the rest together.
  private static func groups(_ sums: [ExactText: Sums]) throws(PostgresError) -> [StatsGroup] {
    let sorted = sums.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }
    let told = sorted.count > Limits.statsGroupsMax ? sorted.prefix(Limits.statsGroupsMax - 1) : sorted[...]
    var groups: [StatsGroup] = []
    for (key, sums) in told { groups.append(StatsGroup(key: key.text, stats: try sums.stats())) }
    if told.count < sorted.count {
      var remainder = Sums()
      for (_, sums) in sorted.dropFirst(told.count) { remainder.merge(sums) }
      groups.append(StatsGroup(key: "", stats: try remainder.stats(), isRemainder: true))
    }
    return groups
  }
}

/// A text that is its bytes: equal, and in order, as PostgreSQL's collation "C" has it.
private struct ExactText: Hashable, Comparable {
  let text: String

  init(_ text: String) {
    self.text = text
  }

  static func == (a: Self, b: Self) -> Bool { a.text.isExactly(b.text) }
  static func < (a: Self, b: Self) -> Bool { a.text.utf8.lexicographicallyPrecedes(b.text.utf8) }

  func hash(into hasher: inout Hasher) { text.hashExactly(into: &hasher) }
}
