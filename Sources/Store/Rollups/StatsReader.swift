import Domain

/// Answers statistics from rollups and deltas, and from rows where these do not reach: the parts of hours
/// at a range's ends, and hours that wait to be counted anew. All in one snapshot.
struct StatsReader {
  private let query: GetStats.Checked
  private let tenant: TenantKey
  private let filter: RollupFilter

  /// nil where only rows can answer: for some filters, and for a range without a whole hour.
  init?(_ query: GetStats.Checked, tenant: TenantKey) {
    guard let filter = RollupFilter(query.filter) else { return nil }
    self.query = query
    self.tenant = tenant
    self.filter = filter
    if wholeHours.isEmpty { return nil }
  }

  /// The hours that lie in the range from end to end.
  private var wholeHours: Range<Int32> {
    // Ids hold no time before 1970, and none past 48 bits of milliseconds.
    let start = InteractionID(lowerBound: query.start).time.milliseconds
    let end = InteractionID(lowerBound: query.end).time.milliseconds
    let first = (start + .millisecondsPerHour - 1) / .millisecondsPerHour
    return Int32(first)..<Int32(max(first, end / .millisecondsPerHour))
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
        recounts.append(hours.clamped(to: wholeHours))
      }
    }
    let (clean, dirty) = split(by: recounts.filter { !$0.isEmpty })
    guard !clean.isEmpty, dirty.reduce(0, { $0 + $1.count }) <= Limits.recountHoursReadMax else { return nil }

    var tally = StatsTally(query)
    for fact in pending where clean.contains(where: { $0.contains(fact.hour) }) { tally.add(fact) }
    for hours in clean { try read(hours, &tally, connection) }
    for range in rowRanges(dirty) { try connection.facts(range, tenant: tenant) { tally.add($0) } }
    return tally.totals.count <= Int64(exactUpTo) ? nil : try tally.report()
  }

  /// The whole hours, without and with those that wait to be counted anew.
  private func split(by recounts: [Range<Int32>]) -> (clean: [Range<Int32>], dirty: [Range<Int32>]) {
    var (clean, dirty): ([Range<Int32>], [Range<Int32>]) = ([], [])
    var next = wholeHours.lowerBound
    for hours in recounts.sorted(by: { $0.lowerBound < $1.lowerBound }) where hours.upperBound > next {
      if hours.lowerBound > next { clean.append(next..<hours.lowerBound) }
      dirty.append(max(next, hours.lowerBound)..<hours.upperBound)
      next = hours.upperBound
    }
    if next < wholeHours.upperBound { clean.append(next..<wholeHours.upperBound) }
    return (clean, dirty)
  }

  private func rowRanges(_ dirty: [Range<Int32>]) -> [Range<InteractionID>] {
    let whole = wholeHours
    let bounds =
      [
        (InteractionID(lowerBound: query.start), InteractionID(lowerBoundOfHour: whole.lowerBound)),
        (InteractionID(lowerBoundOfHour: whole.upperBound), InteractionID(lowerBound: query.end)),
      ] + dirty.map { (InteractionID(lowerBoundOfHour: $0.lowerBound), InteractionID(lowerBoundOfHour: $0.upperBound)) }
    return bounds.filter { $0 < $1 }.map { $0..<$1 }
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
      try connection.rollups(grain, span, tenant: tenant, filter: filter) { key, sums in
        tally.add(sums, of: key.group)
        if !isSeriesApart { tally.addToSeries(sums, hour: key.start) }
      }
    }
    if isSeriesApart {
      try connection.rollups(.hour, hours, tenant: tenant) { key, sums in tally.addToSeries(sums, hour: key.start) }
    }
  }
}
