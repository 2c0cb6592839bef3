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

  /// nil where only rows can answer: for some filters, and for a range too short.
  init?(_ query: GetStats.Checked, tenant: TenantKey, now: Timestamp = .now) {
    guard let filter = RollupFilter(query.filter) else { return nil }
    // Ids hold no time before 1970, and none past 48 bits of milliseconds.
    let start = InteractionID(lowerBound: query.start)
    let end = InteractionID(lowerBound: query.end)
    let half = Int64.millisecondsPerHour / 2
    let first = start.time.milliseconds % .millisecondsPerHour <= half ? start.hour : start.hour + 1
    // What lies ahead of now is hardly anything.
    let takesLast = end.time.milliseconds % .millisecondsPerHour >= half || end.time >= now - half && end.time <= now
    let last = takesLast ? end.hour + 1 : end.hour
    guard first < last else { return nil }
    self.query = query
    self.tenant = tenant
    self.filter = filter
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

  /// Whole days by their own sums, the hours around them by theirs.
  private func read(
    _ hours: Range<Int32>, _ tally: inout StatsTally, _ connection: isolated PostgresConnection
  ) throws(PostgresError) {
    // A series of hours over everything has sums of its own; by a filter it is read hour by hour.
    let isSeriesApart = query.interval == .hour && filter.selectsAll
    let isByHour = query.interval == .hour && !isSeriesApart
    let firstDay = (hours.lowerBound + .hoursPerDay - 1) / .hoursPerDay * .hoursPerDay
    let lastDay = hours.upperBound / .hoursPerDay * .hoursPerDay
    let days = isByHour || firstDay >= lastDay ? hours.upperBound..<hours.upperBound : firstDay..<lastDay
    let (hourGrain, dayGrain): (Grain, Grain) = filter.isByBin ? (.hourDetail, .dayDetail) : (.hourGroup, .dayGroup)
    let spans = [
      (hourGrain, hours.lowerBound..<days.lowerBound), (dayGrain, days),
      (hourGrain, days.upperBound..<hours.upperBound),
    ]
    for (grain, span) in spans where !span.isEmpty {
      try connection.encodedRollups(grain, span, tenant: tenant, filter: filter) { (key, sums) throws(PostgresError) in
        try tally.add(sums, of: key.group)
        if !isSeriesApart { try tally.addToSeries(sums, hour: key.start) }
      }
    }
    if isSeriesApart {
      try connection.encodedRollups(.hour, hours, tenant: tenant) { (key, sums) throws(PostgresError) in
        try tally.addToSeries(sums, hour: key.start)
      }
    }
  }
}
