import Domain

/// Compares what is kept of a day's hours with what their rows say: every sum of every grain, every posting,
/// and the sums in turn with plain SQL. What waits in deltas counts as kept.
struct DayCheck {
  private let hours: Range<Int32>
  private let tenant: TenantKey

  init(_ hours: Range<Int32>, of tenant: TenantKey) {
    self.hours = hours
    self.tenant = tenant
  }

  func run(on connection: isolated PostgresConnection, _ day: inout Verifier.Day) throws(PostgresError) {
    var pending: [Fact] = []
    var waiting: Set<Int32> = []
    for row in try connection.run(Command(.readDeltas) { $0.add(tenant.rawValue) }) {
      switch try Delta(row) {
      case .facts(_, let facts): pending += facts.filter { hours.contains($0.hour) }
      case .recount(_, let some): waiting.formUnion(some.clamped(to: hours))
      }
    }
    day.waitingHours = waiting.count

    var (counted, kept) = (Rollups(), Rollups())
    for hour in hours where !waiting.contains(hour) {
      let ids = InteractionID(lowerBoundOfHour: hour)..<InteractionID(lowerBoundOfHour: hour + 1)
      var (rows, folded) = (Rollups(), Rollups())
      var (postings, keptPostings) = (Postings(), Postings())
      do throws(PostgresError) {
        keptPostings = try connection.postings(hour, of: tenant)
      } catch {
        guard case .unexpectedAnswer = error.kind else { throw error }
        day.add("postings that cannot be read", hour)
      }
      try connection.facts(ids, tenant: tenant) { fact in
        rows.add(fact, tenant: tenant)
        postings.add(fact, tenant: tenant)
      }
      for fact in pending where fact.hour == hour {
        folded.add(fact, tenant: tenant)
        keptPostings.add(fact, tenant: tenant)
      }
      let whole = hour..<hour + 1
      for grain in Grain.allCases where !grain.isDay {
        try compare(grain, whole, rows, pending: folded, on: connection, &day)
      }
      day.compare(keptPostings, with: postings, hour)
      counted.merge(rows)
      kept.merge(folded)
    }
    let isWholeDay = hours.count == Int32.hoursPerDay && hours.lowerBound % .hoursPerDay == 0
    if isWholeDay, waiting.isEmpty {
      for grain in Grain.allCases where grain.isDay {
        try compare(grain, hours, counted, pending: kept, on: connection, &day)
      }
    }
    let totals = counted.total
    day.interactions = totals.count
    if waiting.isEmpty { try compare(totals, on: connection, &day) }
  }

  private func compare(
    _ grain: Grain, _ hours: Range<Int32>, _ counted: Rollups, pending: Rollups,
    on connection: isolated PostgresConnection, _ day: inout Verifier.Day
  ) throws(PostgresError) {
    var kept = pending.cells([grain])
    var unreadable: Set<RollupKey> = []
    try connection.encodedRollups([(grain, hours)], tenant: tenant, filter: .init()) { _, key, bytes in
      do throws(PostgresError) {
        try kept[key, default: Sums()].merge(bytes)
      } catch {
        unreadable.insert(key)
      }
    }
    let counted = counted.cells([grain])
    let wrong = Set(kept.keys).union(counted.keys).filter { kept[$0] != counted[$0] }.union(unreadable)
    if !wrong.isEmpty { day.add("\(wrong.count) of \(counted.count) sums (\(grain))", hours.lowerBound) }
  }

  /// With what `GetStats` says where it reads rows.
  private func compare(
    _ totals: Sums, on connection: isolated PostgresConnection, _ day: inout Verifier.Day
  ) throws(PostgresError) {
    var filter = InteractionFilter()
    filter.startTime = InteractionID(lowerBoundOfHour: hours.lowerBound).time
    filter.endTime = InteractionID(lowerBoundOfHour: hours.upperBound).time
    // A sum past 64 bits is refused here as there.
    guard let ours = try? totals.stats(),
      let query = try? GetStats(filter: filter).checked(tenant: day.tenant, now: .now)
    else { return }
    var bySQL: Stats
    do throws(PostgresError) {
      bySQL = try connection.statsOfRows(query, tenant: tenant).totals
    } catch {
      // Rows hold what no server would take, such as a score that is no number. The last look of the day.
      guard case .refused("22003") = error.kind else { throw error }
      return day.add("the day's sums by SQL: \(error.message)", hours.lowerBound)
    }
    // Those of a histogram are near, not equal.
    (bySQL.p50, bySQL.p95, bySQL.p99) = (ours.p50, ours.p95, ours.p99)
    if bySQL != ours { day.add("the day's sums by SQL", hours.lowerBound) }
  }
}

extension Verifier.Day {
  fileprivate mutating func add(_ what: String, _ hour: Int32) {
    differences.append((InteractionID(lowerBoundOfHour: hour).time, what))
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
