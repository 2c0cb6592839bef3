import Domain

/// Answers statistics from rollups and deltas, and from rows where these do not reach: the parts of hours
/// at a range's ends, and hours that wait to be counted anew. All in one snapshot.
///
/// Of an hour that a range cuts, the shorter part is read from rows: what lies in the range is added, or what
/// does not is taken away from the whole hour.
struct StatsReader {
  private let query: GetStats.Checked
  private let tenant: TenantKey
  private let filter: RollupFilter
  /// Those that rollups answer for.
  private let hours: Range<Int32>
  private let now: InteractionID

  /// nil where only rows can answer: for some filters, and for a range too short.
  init?(_ query: GetStats.Checked, tenant: TenantKey, now: Timestamp = .now) {
    guard let filter = RollupFilter(query.filter) else { return nil }
    // Ids hold no time before 1970, and none past 48 bits of milliseconds.
    let start = InteractionID(lowerBound: query.start)
    let end = InteractionID(lowerBound: query.end)
    let startOffset = start.time.milliseconds % .millisecondsPerHour
    let first = startOffset <= .millisecondsPerHour / 2 ? start.hour : start.hour + 1
    // Of the end's hour: the part before it against the part after it that is not ahead, where hardly anything is.
    let endOffset = end.time.milliseconds % .millisecondsPerHour
    let afterEnd = min(.millisecondsPerHour - endOffset, now.milliseconds - end.time.milliseconds)
    let last = afterEnd < endOffset ? end.hour + 1 : end.hour
    guard first < last else { return nil }
    self.query = query
    self.tenant = tenant
    self.filter = filter
    self.now = InteractionID(lowerBound: now)
    hours = first..<last
  }

  /// - Parameter exactUpTo: nil is answered for so few interactions, whose percentiles rows can tell exactly.
  /// - Returns: nil also where too much waits to be counted anew; rows answer then, too.
  func report(
    on connection: isolated PostgresConnection, exactUpTo: Int
  ) throws(PostgresError) -> StatsReport? {
    var recounts: [Range<Int32>] = []
    var pending: [Fact] = []
    for row in try connection.run(Command(.readDeltas) { $0.add(tenant.rawValue) }) {
      switch try Delta(row) {
      case .facts(_, let facts): pending += facts
      case .recount(_, let hours):
        guard hours.count <= Limits.recountHoursReadMax else { return nil }
        recounts.append(hours.clamped(to: self.hours))
      }
    }
    let (clean, dirty) = split(by: recounts.filter { !$0.isEmpty })
    guard !clean.isEmpty, dirty.reduce(0, { $0 + $1.count }) <= Limits.recountHoursReadMax else { return nil }

    var tally = StatsTally(query)
    for fact in pending where clean.contains(where: { $0.contains(fact.hour) }) { tally.add(fact) }
    for hours in clean { try read(hours, &tally, connection) }
    for range in rangesToAdd(dirty) { try connection.facts(range, tenant: tenant) { tally.add($0) } }
    for range in rangesToRemove(clean) { try connection.facts(range, tenant: tenant) { tally.remove($0) } }
    return tally.interactionCount <= Int64(exactUpTo) ? nil : try tally.report()
  }

  /// The hours, without and with those that wait to be counted anew.
  private func split(by recounts: [Range<Int32>]) -> (clean: [Range<Int32>], dirty: [Range<Int32>]) {
    var (clean, dirty): ([Range<Int32>], [Range<Int32>]) = ([], [])
    var next = hours.lowerBound
    for recount in recounts.sorted(by: { $0.lowerBound < $1.lowerBound }) where recount.upperBound > next {
      if recount.lowerBound > next { clean.append(next..<recount.lowerBound) }
      dirty.append(max(next, recount.lowerBound)..<recount.upperBound)
      next = recount.upperBound
    }
    if next < hours.upperBound { clean.append(next..<hours.upperBound) }
    return (clean, dirty)
  }

  private func rangesToAdd(_ dirty: [Range<Int32>]) -> [Range<InteractionID>] {
    let asked = InteractionID(lowerBound: query.start)..<InteractionID(lowerBound: query.end)
    let kept = Self.ids(hours)
    let edges = [(asked.lowerBound, kept.lowerBound), (kept.upperBound, asked.upperBound)]
    return edges.filter { $0 < $1 }.map { $0..<$1 } + dirty.map { Self.ids($0).clamped(to: asked) }
  }

  private func rangesToRemove(_ clean: [Range<Int32>]) -> [Range<InteractionID>] {
    let asked = InteractionID(lowerBound: query.start)..<InteractionID(lowerBound: query.end)
    let kept = Self.ids(clean.first!.lowerBound..<clean.last!.upperBound)
    let edges = [(kept.lowerBound, asked.lowerBound), (asked.upperBound, kept.upperBound)]
    return edges.filter { $0 < $1 }.map { $0..<$1 }
  }

  private static func ids(_ hours: Range<Int32>) -> Range<InteractionID> {
    InteractionID(lowerBoundOfHour: hours.lowerBound)..<InteractionID(lowerBoundOfHour: hours.upperBound)
  }

  /// Whole days by their own sums, the hours around them by theirs: what the range leaves of a day is added,
  /// or what it does not is taken away from the whole, whichever is less.
  private func read(
    _ hours: Range<Int32>, _ tally: inout StatsTally, _ connection: isolated PostgresConnection
  ) throws(PostgresError) {
    // A series of hours over everything has sums of its own; by a filter it is read hour by hour.
    let isSeriesApart = query.interval == .hour && filter.selectsAll
    let isByHour = query.interval == .hour && !isSeriesApart
    let days = isByHour || hours.count < Int32.hoursPerDay ? hours.upperBound..<hours.upperBound : days(near: hours)
    let (hourGrain, dayGrain): (Grain, Grain) = filter.isByBin ? (.hourDetail, .dayDetail) : (.hourGroup, .dayGroup)
    enum Use { case add, remove, series }
    let parts: [(use: Use, grain: Grain, start: Int32, end: Int32)] = [
      (.series, .hour, hours.lowerBound, isSeriesApart ? hours.upperBound : hours.lowerBound),
      (.add, dayGrain, days.lowerBound, days.upperBound),
      (.add, hourGrain, hours.lowerBound, days.lowerBound), (.add, hourGrain, days.upperBound, hours.upperBound),
      (.remove, hourGrain, days.lowerBound, hours.lowerBound), (.remove, hourGrain, hours.upperBound, days.upperBound),
    ].filter { $0.start < $0.end }
    try connection.encodedRollups(
      parts.map { ($0.grain, $0.start..<$0.end) }, tenant: tenant, filter: filter
    ) { (place, key, sums) throws(PostgresError) in
      let seriesHour = isSeriesApart ? nil : key.start
      switch parts[place].use {
      case .add: try tally.add(sums, group: key.group, seriesHour: seriesHour)
      case .remove: try tally.remove(sums, group: key.group, seriesHour: seriesHour)
      case .series: try tally.add(sums, seriesHour: key.start)
      }
    }
  }

  private func days(near hours: Range<Int32>) -> Range<Int32> {
    let half = Int32.hoursPerDay / 2
    let first = (hours.lowerBound + half - 1) / .hoursPerDay * .hoursPerDay
    let last = hours.upperBound / .hoursPerDay * .hoursPerDay
    let rest = hours.upperBound - last
    // The hours ahead hold hardly anything.
    return first..<(rest >= half || rest > 0 && last + .hoursPerDay > now.hour ? last + .hoursPerDay : last)
  }
}
