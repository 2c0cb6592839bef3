import Core
import Postgres

/// Computes statistics from rollups and the change log, in one snapshot. README.md in the folder above has an example.
///
/// It reads rows for stale hours. If a rollup turns out to be damaged or of a newer format, its hours count as stale, and
/// everything is added up once more without them.
///
/// If the range starts or ends inside an hour, it reads the rows of the shorter side of that hour. Rows inside the range
/// are added to the sums; rows outside it are taken away from the whole hour's.
struct StatsReader {
  private let query: GetStats.Checked
  private let tenant: TenantKey
  private let layout: RecordLayout
  private let filter: RollupFilter
  /// The hours that rollups are read for.
  private let hours: Range<Int32>
  private let now: InteractionID

  /// nil where the statistics have to come from rows: for some filters, and for a range that is too short for rollups.
  init?(
    _ query: GetStats.Checked, tenant: TenantKey, layout: RecordLayout = .standard, now: Timestamp = .now
  ) {
    guard let filter = RollupFilter(query.filter) else { return nil }
    // Ids hold no time before 1970, and none past 48 bits of milliseconds.
    let start = InteractionID(lowerBound: query.start)
    let end = InteractionID(lowerBound: query.end)
    let startOffset = start.time.milliseconds % .millisecondsPerHour
    let first = startOffset <= .millisecondsPerHour / 2 ? start.hour : start.hour + 1
    // The end cuts its hour in two: the part before it, and the part after it. The part after it ends now, because
    // hardly any interaction lies in the future. We read the shorter one.
    let endOffset = end.time.milliseconds % .millisecondsPerHour
    let afterEnd = min(.millisecondsPerHour - endOffset, now.milliseconds - end.time.milliseconds)
    let last = afterEnd < endOffset ? end.hour + 1 : end.hour
    guard first < last else { return nil }
    self.query = query
    self.tenant = tenant
    self.layout = layout
    self.filter = filter
    self.now = InteractionID(lowerBound: now)
    hours = first..<last
  }

  /// Computes the report: in one round trip if no hour is stale, otherwise in several.
  ///
  /// - Parameter exactUpTo: the result is nil for at most so many interactions, because their rows give exact percentiles.
  /// - Returns: nil also where PostgreSQL is to compute the report from rows: for very many groups, and if many rollups are
  ///   damaged.
  func report(
    on session: ReaderSession, of tenant: NumberedTenant, exactUpTo: Int
  ) throws(PostgresError) -> StatsReport? {
    if let tally = try freshTally(on: session, of: tenant) {
      return tally.isOverfull || tally.interactionCount <= Int64(exactUpTo) ? nil : try tally.report()
    }
    return try session.read(tenant: tenant, plan: .keyed) { (transaction) throws(PostgresError) in
      try report(on: transaction, exactUpTo: exactUpTo)
    }
  }

  /// Adds up the range as if no hour of it were stale.
  ///
  /// - Returns: nil if an hour is stale, if something cannot be read, or if there are too many rollups.
  private func freshTally(
    on session: ReaderSession, of tenant: NumberedTenant
  ) throws(PostgresError) -> StatsTally? {
    let log = ChangeLog.commands(of: tenant.key)
    let parts = parts(hours, stale: StaleHours())
    let (added, removed) = (rangesToAdd(StaleHours()), rangesToRemove([hours]))
    let commands =
      log
      + parts.map {
        .readRollups($0.grain, $0.hours, of: tenant.key, layout.plan, filter: filter, countMax: Self.rollupsMax)
      }
      + (added + removed).map { .readSums($0, of: tenant.key, layout) }
    let firstPlaces = (rollups: log.count, added: log.count + parts.count, removed: commands.count - removed.count)

    var (tally, changes, isWhole) = (StatsTally(query, layout.plan), ChangeLog(layout.plan), true)
    try session.read(commands, behind: .tenant(tenant, .keyed)) { (place, rows) throws(PostgresError) in
      guard isWhole else { return }
      switch place {
      case ..<firstPlaces.rollups:
        try changes.take(rows, ofCommand: place) { entry, _ in
          if hours.contains(entry.hour) { tally.add(entry) }
        }
        isWhole = !changes.stale.overlaps(hours)
      case ..<firstPlaces.added:
        let part = parts[place - firstPlaces.rollups]
        isWhole = rows.count < Self.rollupsMax
        for row in rows {
          let key = try RollupKey(row, grain: part.grain, of: tenant.key)
          let sums = try row.bytes(6)
          do throws(Unreadable) { try part.use(sums, key, &tally) } catch { isWhole = false }
        }
      case ..<firstPlaces.removed: for row in rows { tally.add(try ChangeEntry(row, layout.plan)) }
      default: for row in rows { tally.remove(try ChangeEntry(row, layout.plan)) }
      }
    }
    return isWhole ? tally : nil
  }

  private static let rollupsMax = Int32(Limits.rollupsReadMax)

  /// A report is begun so often at most, if each time more rollups turn out to be unreadable.
  private static let attemptsMax = 4

  /// - Parameter exactUpTo: the result is nil for at most so many interactions, because their rows give exact percentiles.
  /// - Returns: nil also where PostgreSQL is to compute the report from rows: for very many groups, and if many rollups are
  ///   damaged.
  func report(
    on connection: ReadTransaction, exactUpTo: Int
  ) throws(PostgresError) -> StatsReport? {
    var unreadable = StaleHours()
    for _ in 0..<Self.attemptsMax {
      let (tally, more) = try tally(besides: unreadable, on: connection)
      guard let tally, !tally.isOverfull else { return nil }
      if more.isEmpty { return tally.interactionCount <= Int64(exactUpTo) ? nil : try tally.report() }
      unreadable.formUnion(more)
    }
    return nil
  }

  /// Adds up the range.
  ///
  /// - Parameter unreadable: hours whose rollups an earlier attempt could not read.
  /// - Returns: further hours whose rollups cannot be read; if there are any, the tally is not to be used. The tally is nil if
  ///   there are too many rollups.
  private func tally(
    besides unreadable: StaleHours, on connection: ReadTransaction
  ) throws(PostgresError) -> (tally: StatsTally?, unreadable: StaleHours) {
    var tally = StatsTally(query, layout.plan)
    let log = try connection.changeLog(of: tenant, layout) { entry, stale in
      if hours.contains(entry.hour), !stale.contains(entry.hour), !unreadable.contains(entry.hour) { tally.add(entry) }
    }
    // Of what cannot be read nothing counts, and of the rest nothing twice.
    if log.unreadable != nil { tally = StatsTally(query, layout.plan) }
    var stale = log.stale
    stale.formUnion(unreadable)

    var more = StaleHours()
    let fresh = stale.fresh(within: hours)
    for hours in fresh {
      guard try read(hours, stale, &tally, &more, connection) else { return (nil, more) }
    }
    if !more.isEmpty { return (tally, more) }
    for range in rangesToAdd(stale) { try connection.entries(range, tenant: tenant, layout) { tally.add($0) } }
    for range in rangesToRemove(fresh) { try connection.entries(range, tenant: tenant, layout) { tally.remove($0) } }
    return (tally, more)
  }

  private func rangesToAdd(_ stale: StaleHours) -> [Range<InteractionID>] {
    let asked = InteractionID(lowerBound: query.start)..<InteractionID(lowerBound: query.end)
    let kept = Self.ids(hours)
    let edges = [(asked.lowerBound, kept.lowerBound), (kept.upperBound, asked.upperBound)]
    return edges.filter { $0 < $1 }.map { $0..<$1 }
      + stale.within(hours).map { Self.ids($0).clamped(to: asked) }
  }

  private func rangesToRemove(_ fresh: [Range<Int32>]) -> [Range<InteractionID>] {
    guard let first = fresh.first, let last = fresh.last else { return [] }
    let asked = InteractionID(lowerBound: query.start)..<InteractionID(lowerBound: query.end)
    let kept = Self.ids(first.lowerBound..<last.upperBound)
    let edges = [(kept.lowerBound, asked.lowerBound), (asked.upperBound, kept.upperBound)]
    return edges.filter { $0 < $1 }.map { $0..<$1 }
  }

  private static func ids(_ hours: Range<Int32>) -> Range<InteractionID> {
    InteractionID(lowerBoundOfHour: hours.lowerBound)..<InteractionID(lowerBoundOfHour: hours.upperBound)
  }

  /// Rollups of a range that are used in the same way.
  private struct Part {
    enum Use { case add, remove, series }
    var use: Use
    var grain: Grain
    var hours: Range<Int32>
    /// A series over everything is of sums of its own.
    var isSeriesApart: Bool

    func use(
      _ sums: UnsafeRawBufferPointer, _ key: RollupKey, _ tally: inout StatsTally
    ) throws(Unreadable) {
      let seriesHour = isSeriesApart ? nil : key.start
      switch use {
      case .add: try tally.add(sums, group: key.group, seriesHour: seriesHour)
      case .remove: try tally.remove(sums, group: key.group, seriesHour: seriesHour)
      case .series: try tally.add(sums, seriesHour: key.start)
      }
    }
  }

  /// - Parameter more: gets the hours of rollups that cannot be read.
  /// - Returns: false if there are too many rollups.
  private func read(
    _ hours: Range<Int32>, _ stale: StaleHours, _ tally: inout StatsTally, _ more: inout StaleHours,
    _ connection: ReadTransaction
  ) throws(PostgresError) -> Bool {
    let parts = parts(hours, stale: stale)
    return try connection.encodedRollups(
      parts.map { ($0.grain, $0.hours) }, tenant: tenant, layout.plan, filter: filter, countMax: Self.rollupsMax
    ) { (place, key, sums) throws(PostgresError) in
      do throws(Unreadable) { try parts[place].use(sums, key, &tally) } catch { more.insert(key.hours) }
    }
  }

  /// Whole days are read as rollups of days, and the hours around them as rollups of hours. Of a day at an edge of the range,
  /// either the hours inside are added, or the whole day is added and the hours outside are subtracted, whichever are fewer.
  private func parts(_ hours: Range<Int32>, stale: StaleHours) -> [Part] {
    // A series of hours over everything has sums of its own; by a filter it is read hour by hour.
    let isSeriesApart = query.interval == .hour && filter.selectsAll
    let isByHour = query.interval == .hour && !isSeriesApart
    let days =
      isByHour || hours.count < Int32.hoursPerDay ? hours.upperBound..<hours.upperBound : days(near: hours, stale)
    let (hourGrain, dayGrain): (Grain, Grain) = filter.isByBin ? (.hourDetail, .dayDetail) : (.hourGroup, .dayGroup)
    let parts: [(use: Part.Use, grain: Grain, start: Int32, end: Int32)] = [
      (.series, .hour, hours.lowerBound, isSeriesApart ? hours.upperBound : hours.lowerBound),
      (.add, dayGrain, days.lowerBound, days.upperBound),
      (.add, hourGrain, hours.lowerBound, days.lowerBound), (.add, hourGrain, days.upperBound, hours.upperBound),
      (.remove, hourGrain, days.lowerBound, hours.lowerBound), (.remove, hourGrain, hours.upperBound, days.upperBound),
    ]
    return parts.filter { $0.start < $0.end }.map {
      Part(use: $0.use, grain: $0.grain, hours: $0.start..<$0.end, isSeriesApart: isSeriesApart)
    }
  }

  /// A day is used as a whole only if none of its hours is stale: the sums of such an hour may be no part of the day's.
  private func days(near hours: Range<Int32>, _ stale: StaleHours) -> Range<Int32> {
    let half = Int32.hoursPerDay / 2
    var first = (hours.lowerBound + half - 1) / .hoursPerDay * .hoursPerDay
    if stale.overlaps(first..<max(first, hours.lowerBound)) { first += .hoursPerDay }
    var last = hours.upperBound / .hoursPerDay * .hoursPerDay
    let rest = hours.upperBound - last
    // The hours ahead hold hardly anything.
    let isRestMost = rest >= half || rest > 0 && last + .hoursPerDay > now.hour
    if isRestMost, !stale.overlaps(hours.upperBound..<last + .hoursPerDay) { last += .hoursPerDay }
    return first..<max(first, last)
  }
}
