import Core
import Postgres

/// Adds up entries and sums into the parts of a report. Holds a bounded number of groups.
struct StatsTally {
  private let query: GetStats.Checked
  private let plan: MeasurePlan
  private var groups: [StatsGroupKey: Sums] = [:]
  private var points: [Int64: Sums] = [:]

  /// There are more groups than are held in memory. Then the tally is incomplete, and the statistics come from rows.
  private(set) var isOverfull = false

  init(_ query: GetStats.Checked, _ plan: MeasurePlan) {
    self.query = query
    self.plan = plan
  }

  var interactionCount: Int64 { groups.values.reduce(0) { $0 &+ $1.count } }

  /// Adds an entry, if the query's filter selects it, whatever its time.
  mutating func add(_ entry: ChangeEntry) {
    guard query.filter.selects(entry), makeRoom(for: entry.group) else { return }
    groups[entry.group, default: Sums(plan)].add(entry)
    if let point = point(of: entry.hour) { points[point, default: Sums(plan)].add(entry) }
  }

  /// Takes away an entry that was added with others, if the filter selects it.
  mutating func remove(_ entry: ChangeEntry) {
    guard query.filter.selects(entry), makeRoom(for: entry.group) else { return }
    groups[entry.group, default: Sums(plan)].remove(entry)
    if let point = point(of: entry.hour) { points[point, default: Sums(plan)].remove(entry) }
  }

  /// Adds sums as they are kept, to the groups, to the series, or to both. Where that throws, the tally is not to be used
  /// any more.
  mutating func add(
    _ sums: UnsafeRawBufferPointer, group: StatsGroupKey? = nil, seriesHour: Int32? = nil
  ) throws(Unreadable) {
    if let group, makeRoom(for: group) { try groups[group, default: Sums(plan)].merge(sums) }
    if let point = seriesHour.flatMap(point) { try points[point, default: Sums(plan)].merge(sums) }
  }

  /// Takes away sums that were added with others. Where that throws, the tally is not to be used any more.
  mutating func remove(
    _ sums: UnsafeRawBufferPointer, group: StatsGroupKey, seriesHour: Int32?
  ) throws(Unreadable) {
    if makeRoom(for: group) { try groups[group, default: Sums(plan)].remove(sums) }
    if let point = seriesHour.flatMap(point) { try points[point, default: Sums(plan)].remove(sums) }
  }

  private mutating func makeRoom(for group: StatsGroupKey) -> Bool {
    if groups.count < Limits.statsGroupsHeldMax || groups[group] != nil { return true }
    isOverfull = true
    return false
  }

  private func point(of hour: Int32) -> Int64? {
    query.interval.map { Int64(hour) * .millisecondsPerHour / $0.milliseconds * $0.milliseconds }
  }

  func report() throws(PostgresError) -> StatsReport {
    var report = StatsReport(start: query.start, end: query.end)
    var totals = Sums(plan)
    var (byModel, byMessageType, byHandoffReason): ([ExactText: Sums], [ExactText: Sums], [ExactText: Sums])
    (byModel, byMessageType, byHandoffReason) = ([:], [:], [:])
    for (group, sums) in groups where sums.count > 0 {
      totals.merge(sums)
      byModel[ExactText(group.modelUsed), default: Sums(plan)].merge(sums)
      byMessageType[ExactText(group.messageType), default: Sums(plan)].merge(sums)
      if group.handoffTriggered { byHandoffReason[ExactText(group.handoffReason), default: Sums(plan)].merge(sums) }
    }
    report.totals = try totals.stats()
    report.byModel = try groups(byModel)
    report.byMessageType = try groups(byMessageType)
    report.byHandoffReason = try groups(byHandoffReason)
    for (start, sums) in points.sorted(by: { $0.key < $1.key }) where sums.count > 0 {
      report.series.append(StatsPoint(start: Timestamp(milliseconds: start), stats: try sums.stats()))
    }
    return report
  }

  /// The groups with most interactions first, and then by the bytes of their keys. If there are too many, the smallest ones are
  /// added up in one group, the remainder.
  private func groups(_ sums: [ExactText: Sums]) throws(PostgresError) -> [StatsGroup] {
    let sorted = sums.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }
    let told = sorted.count > Limits.statsGroupsMax ? sorted.prefix(Limits.statsGroupsMax - 1) : sorted[...]
    var groups: [StatsGroup] = []
    for (key, sums) in told { groups.append(StatsGroup(key: key.text, stats: try sums.stats())) }
    if told.count < sorted.count {
      var remainder = Sums(plan)
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
