import Core
import Postgres

/// Compares the rollups and posting lists of a day's hours with their rows: every sum of every grain, and every posting.
/// It also compares the sums with those of plain SQL. Change records that are not merged yet count as if they were.
struct DayCheck {
  private let hours: Range<Int32>
  private let tenant: TenantKey
  private let layout: RecordLayout

  init(_ hours: Range<Int32>, of tenant: TenantKey, _ layout: RecordLayout) {
    self.hours = hours
    self.tenant = tenant
    self.layout = layout
  }

  func run(on connection: ReadTransaction, _ day: inout Verifier.Day) throws(PostgresError) {
    let nothing = (rollups: Rollups(layout.plan), postings: Postings())
    var pending: [Int32: (rollups: Rollups, postings: Postings)] = [:]
    let log = try connection.changeLog(of: tenant, layout) { entry, stale in
      guard hours.contains(entry.hour), !stale.contains(entry.hour) else { return }
      pending[entry.hour, default: nothing].rollups.add(entry, tenant: tenant)
      pending[entry.hour, default: nothing].postings.add(entry, tenant: tenant)
    }
    if let unreadable = log.unreadable { day.add("a change record that \(unreadable.words)", hours.lowerBound) }
    day.waitingHours = log.stale.within(hours).reduce(0) { $0 + $1.count }

    var (counted, kept) = (nothing.rollups, nothing.rollups)
    for hour in hours where !log.stale.contains(hour) {
      let ids = InteractionID(lowerBoundOfHour: hour)..<InteractionID(lowerBoundOfHour: hour + 1)
      var (rows, postings) = nothing
      try connection.entries(ids, tenant: tenant, layout) { entry in
        rows.add(entry, tenant: tenant)
        postings.add(entry, tenant: tenant)
      }
      let unmerged = pending.removeValue(forKey: hour) ?? nothing
      let whole = hour..<hour + 1
      for grain in Grain.allCases where !grain.isDay {
        try compare(grain, whole, rows, pending: unmerged.rollups, on: connection, &day)
      }
      if var keptPostings = try connection.postings(hour, of: tenant) {
        keptPostings.merge(unmerged.postings)
        day.compare(keptPostings, with: postings, hour)
      } else {
        day.add("postings that cannot be read", hour)
      }
      counted.merge(rows)
      kept.merge(unmerged.rollups)
    }
    let isWholeDay = hours.count == Int32.hoursPerDay && hours.lowerBound % .hoursPerDay == 0
    if isWholeDay, day.waitingHours == 0 {
      for grain in Grain.allCases where grain.isDay {
        try compare(grain, hours, counted, pending: kept, on: connection, &day)
      }
    }
    let totals = counted.total
    day.interactions = totals.count
    if day.waitingHours == 0 { try compare(totals, on: connection, &day) }
  }

  private func compare(
    _ grain: Grain, _ hours: Range<Int32>, _ counted: Rollups, pending: Rollups,
    on connection: ReadTransaction, _ day: inout Verifier.Day
  ) throws(PostgresError) {
    var kept = pending.cells([grain])
    var unreadable: [RollupKey: Unreadable] = [:]
    try connection.encodedRollups([(grain, hours)], tenant: tenant, layout.plan) {
      (_, key, bytes) throws(PostgresError) in
      do throws(Unreadable) { try kept[key, default: Sums(layout.plan)].merge(bytes) } catch { unreadable[key] = error }
    }
    let counted = counted.cells([grain])
    let wrong = Set(kept.keys).union(counted.keys).filter { kept[$0] != counted[$0] }.union(unreadable.keys)
    let newer = unreadable.values.count { $0 == .newerFormat }
    if wrong.count > newer { day.add("\(wrong.count - newer) of \(counted.count) sums (\(grain))", hours.lowerBound) }
    if newer > 0 {
      day.add("\(newer) of \(counted.count) sums (\(grain)) that \(Unreadable.newerFormat.words)", hours.lowerBound)
    }
  }

  /// Compares the day's sums with those that `GetStats` computes when it reads rows.
  private func compare(
    _ totals: Sums, on connection: ReadTransaction, _ day: inout Verifier.Day
  ) throws(PostgresError) {
    var filter = InteractionFilter()
    filter.startTime = InteractionID(lowerBoundOfHour: hours.lowerBound).time
    filter.endTime = InteractionID(lowerBoundOfHour: hours.upperBound).time
    // A sum past 64 bits is refused here as there.
    guard let ours = try? totals.stats(),
      let query = try? GetStats(filter: filter).checked(tenant: day.tenant, now: .now)
    else { return }
    var bySQL = try connection.statsOfRows(query, tenant: tenant, layout).totals
    // Those of a histogram are near, not equal.
    bySQL.percentiles = ours.percentiles
    if bySQL != ours { day.add("the day's sums by SQL", hours.lowerBound) }
  }
}

extension Unreadable {
  fileprivate var words: String {
    switch self {
    case .damaged: "cannot be read"
    case .newerFormat: "a newer server wrote, in a format this one does not know: run `parley verify` of that version"
    }
  }
}

extension Verifier.Day {
  fileprivate mutating func add(_ what: String, _ hour: Int32) {
    differences.append((InteractionID(lowerBoundOfHour: hour).time, what))
  }

  /// - Parameter reason: PostgreSQL's words.
  mutating func addDamage(_ reason: String, _ hour: Int32) {
    let what = "what PostgreSQL cannot read (\(reason)): repair its table, then run `parley verify --repair`"
    // A day that could not be rebuilt may not be read either.
    if differences.last?.what != what { add(what, hour) }
  }

  fileprivate mutating func compare(_ kept: Postings, with counted: Postings, _ hour: Int32) {
    var (missing, extra) = (0, 0)
    for key in Set(kept.ids.keys).union(counted.ids.keys) {
      let (kept, counted) = (kept.ids[key]?.sorted() ?? [], counted.ids[key]?.sorted() ?? [])
      guard kept != counted else { continue }
      missing += Set(counted).subtracting(kept).count
      extra += kept.count - Set(kept).intersection(counted).count
    }
    if missing > 0 { add("\(missing) postings are missing", hour) }
    if extra > 0 { add("\(extra) postings too many", hour) }
  }
}
