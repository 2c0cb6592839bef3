import Core
import Postgres

extension Statement {
  fileprivate static let interactionAt = Statement("interaction_at", PackageResources.interaction_at_sql)
  fileprivate static let takeStaleHours = Statement("stale_hours_take", PackageResources.stale_hours_take_sql)
}

/// The outcome of a transaction that was to rebuild some of a tenant's stale hours.
enum Rebuilt {
  /// Some were rebuilt. The stale hours that are left lie in a range of so many hours.
  case hours(left: Int)
  /// None of the hours that were wanted is stale.
  case nothing
  /// A newer server has written rollups or change records of these hours in a newer format, and only such a server can rebuild
  /// them. Reads use the rows of these hours meanwhile.
  case leftToNewer
}

/// Which of a tenant's stale hours one transaction is to rebuild.
struct RebuildPiece {
  /// Only hours in these ranges.
  var within = StaleHours.everyHour
  /// No hours in these ranges.
  var except = StaleHours()
  /// At most so many consecutive hours, including those between that are not stale.
  var hoursMax = Int.max
  /// At most so many interactions. A single hour may have more.
  var interactionsMax = Limits.rebuildInteractionsMax
  /// The hours that were tried; nil before.
  var tried: Range<Int32>?

  /// From the first stale hour that is wanted to the last, or to the next range that is not wanted.
  func span(of stale: StaleHours) -> Range<Int32>? {
    let others = except.ranges.reduce(stale) { $0.without($1) }
    guard let wanted = others.within(within).first, let last = others.within(within).last else { return nil }
    let end = except.ranges.first { $0.lowerBound >= wanted.upperBound }?.lowerBound ?? last.upperBound
    let span = wanted.lowerBound..<min(end, last.upperBound)
    return span.count <= hoursMax ? span : span.lowerBound..<span.lowerBound + Int32(hoursMax)
  }
}

extension Session {
  /// Rebuilds some of a tenant's stale hours from their rows, in the snapshot under way: of one day, and of a bounded
  /// number of interactions. The tenant's change records are merged along. Their entries of stale hours are not, for the rows
  /// count whether or not their record has been merged.
  func rebuild(
    _ tenant: TenantKey, _ layout: RecordLayout, _ piece: inout RebuildPiece
  ) throws(PostgresError) -> Rebuilt {
    var stale = try staleHours(of: tenant)
    guard !stale.isEmpty else {
      _ = try run(Command(.takeStaleHours) { $0.add(tenant.rawValue) })
      return .hours(left: 0)
    }
    guard let span = piece.span(of: stale) else { return .nothing }
    piece.tried = span
    let hours = try wholeHours(of: span, tenant, piece.interactionsMax)
    piece.tried = hours
    if try hasNewer(hours, tenant, layout) { return .leftToNewer }

    stale.insert(hours)
    var isMore = true
    while isMore {
      let merged = try mergeChanges(of: tenant, outside: stale, layout)
      if let damaged = merged.damaged[tenant] { stale.formUnion(damaged) }
      isMore = merged.isMore
    }
    for grain in Grain.allCases where !grain.isDay { try remove(grain, hours, tenant) }
    try removePostings(hours, of: tenant)
    try count(hours, tenant, layout)
    stale.formUnion(try countDays(of: hours, tenant, layout.plan, stale: stale.without(hours)))

    _ = try run(Command(.takeStaleHours) { $0.add(tenant.rawValue) })
    let rest = stale.without(hours)
    try add(rest, of: tenant)
    return .hours(left: rest.span?.count ?? 0)
  }

  /// From the first hour to the end of the day of the first interaction from there on; hours without interactions are
  /// rebuilt with it. Less than a day where that has too many.
  private func wholeHours(
    of span: Range<Int32>, _ tenant: TenantKey, _ interactionsMax: Int
  ) throws(PostgresError) -> Range<Int32> {
    guard let first = try hour(ofInteraction: 0, in: span, tenant) else { return span }
    let dayEnd = (first / .hoursPerDay + 1) * .hoursPerDay
    let day = span.lowerBound..<min(dayEnd, span.upperBound)
    // Only whole hours can be rebuilt.
    let tooMany = try hour(ofInteraction: interactionsMax, in: day, tenant) ?? day.upperBound
    return day.clamped(to: day.lowerBound..<max(tooMany, first + 1))
  }

  private func hour(
    ofInteraction place: Int, in hours: Range<Int32>, _ tenant: TenantKey
  ) throws(PostgresError) -> Int32? {
    let row = try run(
      Command(.interactionAt) {
        $0.add(tenant.rawValue)
        $0.add(InteractionID(lowerBoundOfHour: hours.lowerBound))
        $0.add(InteractionID(lowerBoundOfHour: hours.upperBound))
        $0.add(Int32(place))
      }
    ).first { _ in true }
    return try row.map { (row) throws(PostgresError) in try row.id(0).hour }
  }

  private func hasNewer(
    _ hours: Range<Int32>, _ tenant: TenantKey, _ layout: RecordLayout
  ) throws(PostgresError) -> Bool {
    try run(
      Command(layout.statements.newerRollups) {
        $0.add(tenant.rawValue)
        $0.add(hours.lowerBound)
        $0.add(hours.upperBound)
        $0.add(hours.wholeDays.lowerBound)
        $0.add(hours.wholeDays.upperBound)
      }
    ).first { _ in true }!.bool(0)
  }

  /// Puts the rollups and posting lists of hours, of which there are none, by their rows.
  private func count(_ hours: Range<Int32>, _ tenant: TenantKey, _ layout: RecordLayout) throws(PostgresError) {
    let ids = InteractionID(lowerBoundOfHour: hours.lowerBound)..<InteractionID(lowerBoundOfHour: hours.upperBound)
    try entryPages(ids, tenant: tenant, layout) { (entries) throws(PostgresError) in
      var (rollups, postings) = (Rollups(layout.plan), Postings())
      for entry in entries {
        rollups.add(entry, tenant: tenant)
        postings.add(entry, tenant: tenant)
      }
      _ = try merge(rollups.cells(Grain.allCases.filter { !$0.isDay }), layout.plan)
      _ = try merge(postings)
    }
  }

  /// Makes the rollups of the days of some hours anew from those of hours. The interactions of a piece are all of its last
  /// day; of its first day there may be hours before it. No day is used that has a stale hour, so such a day is left to
  /// the last of its stale hours.
  ///
  /// - Returns: hours that are found damaged there. They are left out.
  private func countDays(
    of piece: Range<Int32>, _ tenant: TenantKey, _ plan: MeasurePlan, stale: StaleHours
  ) throws(PostgresError) -> StaleHours {
    let days = piece.wholeDays
    let ends = Set([days.lowerBound, days.upperBound - .hoursPerDay]).map { $0..<$0 + .hoursPerDay }
    let whole = ends.filter(stale.overlaps).reduce(StaleHours(days)) { $0.without($1) }
    for days in whole.ranges {
      for grain in Grain.allCases where grain.isDay { try remove(grain, days, tenant) }
    }
    var damaged = StaleHours()
    for hours in ends where whole.overlaps(hours) {
      var daily = Rollups(plan)
      for hour in hours {
        let part = [(grain: Grain.hourDetail, hours: hour..<hour + 1)]
        try encodedRollups(part, tenant: tenant, plan) { (_, key, bytes) throws(PostgresError) in
          do throws(Unreadable) { daily.add(try Sums(bytes, plan), for: key) } catch { damaged.insert(hour..<hour + 1) }
        }
        // Of most tenants a day's are few; of one with very many groups they are too many at once.
        if daily.count >= Limits.rollupsHeldMax || hour + 1 == hours.upperBound {
          _ = try merge(daily.cells(Grain.allCases.filter(\.isDay)), plan)
          daily = Rollups(plan)
        }
      }
    }
    return damaged
  }

  private func remove(_ grain: Grain, _ hours: Range<Int32>, _ tenant: TenantKey) throws(PostgresError) {
    _ = try run(
      Command(.removeRollups) {
        $0.add(tenant.rawValue)
        $0.add(grain.rawValue)
        $0.add(hours.lowerBound)
        $0.add(hours.upperBound)
      })
  }
}
