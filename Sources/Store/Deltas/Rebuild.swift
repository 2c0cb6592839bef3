import Domain
import Postgres

extension Statement {
  fileprivate static let interactionAt = Statement("interaction_at", PackageResources.interaction_at_sql)
  fileprivate static let newerRollups = Statement("rollups_newer", PackageResources.rollups_newer_sql)
  fileprivate static let takeStaleHours = Statement("stale_hours_take", PackageResources.stale_hours_take_sql)
}

/// What became of the wish to rebuild a tenant's stale hours.
enum Rebuilt {
  /// Some were; over so many hours those are spread that are left.
  case hours(left: Int)
  /// A newer server has left something there in a format of its own: only such a one can rebuild them. Their rows answer
  /// meanwhile.
  case leftToNewer
}

extension Session {
  /// Rebuilds some of a tenant's stale hours from their rows, in the snapshot under way: of one day, and of a bounded
  /// number of interactions. The tenant's change records are merged along, for the rows count whether or not their record
  /// has been merged.
  func rebuild(
    _ tenant: TenantKey, interactionsMax: Int = Limits.rebuildInteractionsMax
  ) throws(PostgresError) -> Rebuilt {
    var stale = try staleHours(of: tenant)
    guard let piece = try pieceToRebuild(of: stale, tenant, interactionsMax) else {
      _ = try run(Command(.takeStaleHours) { $0.add(tenant.rawValue) })
      return .hours(left: 0)
    }
    if try hasNewer(piece, tenant) { return .leftToNewer }

    var isMore = true
    while isMore {
      let merged = try mergeChanges(of: tenant, outside: piece)
      if let damaged = merged.damaged[tenant] { stale.formUnion(damaged) }
      isMore = merged.isMore
    }
    for grain in Grain.allCases where !grain.isDay { try remove(grain, piece, tenant) }
    try removePostings(piece, of: tenant)
    try count(piece, tenant)
    stale.formUnion(try countDays(of: piece, tenant))

    _ = try run(Command(.takeStaleHours) { $0.add(tenant.rawValue) })
    let rest = stale.without(piece)
    try add(rest, of: tenant)
    return .hours(left: rest.span?.count ?? 0)
  }

  /// From the first stale hour to the end of the day of the first interaction from there on, so far as the stale hours
  /// go; hours without interactions are rebuilt with it. Less than a day where that has too many.
  private func pieceToRebuild(
    of stale: StaleHours, _ tenant: TenantKey, _ interactionsMax: Int
  ) throws(PostgresError) -> Range<Int32>? {
    guard let span = stale.span else { return nil }
    guard let first = try hour(ofInteraction: 0, in: span, tenant) else { return span }
    let dayEnd = (first / .hoursPerDay + 1) * .hoursPerDay
    let piece = span.lowerBound..<min(dayEnd, span.upperBound)
    // Only whole hours can be rebuilt.
    let tooMany = try hour(ofInteraction: interactionsMax, in: piece, tenant) ?? piece.upperBound
    return piece.clamped(to: piece.lowerBound..<max(tooMany, first + 1))
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

  private func hasNewer(_ hours: Range<Int32>, _ tenant: TenantKey) throws(PostgresError) -> Bool {
    try run(
      Command(.newerRollups) {
        $0.add(tenant.rawValue)
        $0.add(hours.lowerBound)
        $0.add(hours.upperBound)
        $0.add(hours.wholeDays.lowerBound)
        $0.add(hours.wholeDays.upperBound)
      }
    ).first { _ in true }!.bool(0)
  }

  /// Puts the rollups and posting lists of hours, of which there are none, by their rows.
  private func count(_ hours: Range<Int32>, _ tenant: TenantKey) throws(PostgresError) {
    let ids = InteractionID(lowerBoundOfHour: hours.lowerBound)..<InteractionID(lowerBoundOfHour: hours.upperBound)
    try factPages(ids, tenant: tenant) { (facts) throws(PostgresError) in
      var (rollups, postings) = (Rollups(), Postings())
      for fact in facts {
        rollups.add(fact, tenant: tenant)
        postings.add(fact, tenant: tenant)
      }
      _ = try merge(rollups.cells(Grain.allCases.filter { !$0.isDay }))
      _ = try merge(postings)
    }
  }

  /// Makes the rollups of the days of some hours anew from those of hours. The interactions of a piece are all of its last
  /// day; of its first day there may be hours before it.
  ///
  /// - Returns: hours that are found damaged there. They are left out: no day is used that has a stale hour.
  private func countDays(of piece: Range<Int32>, _ tenant: TenantKey) throws(PostgresError) -> StaleHours {
    for grain in Grain.allCases where grain.isDay { try remove(grain, piece.wholeDays, tenant) }
    var damaged = StaleHours()
    for day in Set([piece.lowerBound / .hoursPerDay, (piece.upperBound - 1) / .hoursPerDay]) {
      let hours = day * .hoursPerDay..<(day + 1) * .hoursPerDay
      var daily = Rollups()
      for hour in hours {
        let part = [(grain: Grain.hourDetail, hours: hour..<hour + 1)]
        try encodedRollups(part, tenant: tenant) { (_, key, bytes) throws(PostgresError) in
          do throws(Unreadable) { daily.add(try Sums(bytes), for: key) } catch { damaged.insert(hour..<hour + 1) }
        }
        // Of most tenants a day's are few; of one with very many groups they are too many at once.
        if daily.count >= Limits.rollupsHeldMax || hour + 1 == hours.upperBound {
          _ = try merge(daily.cells(Grain.allCases.filter(\.isDay)))
          daily = Rollups()
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
