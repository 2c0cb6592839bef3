import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// Statistics from rollups as users ask for them, up to the present moment, against a count in memory.
@Suite(.timeLimit(.minutes(5))) struct StatsReaderTests {
  /// In the middle of an hour, of a day and of a month.
  private static let now = Timestamp("2024-05-17T14:23:45.678Z")
  private static let hour: Int64 = 3_600_000

  private func report(
    _ query: GetStats.Checked, of tenant: Tenant, now: Timestamp, in database: TestDatabase
  ) async throws -> StatsReport? {
    let tenant = try database.numbered(tenant)
    return try await database.reader().run { (session) throws(PostgresError) in
      try StatsReader(query, tenant: tenant.key, now: now)?.report(on: session, of: tenant, exactUpTo: -1)
    }.get()
  }

  /// Times as interactions have them: most of the last hours, some of the last month, few ahead of the clock.
  private func time(_ random: inout SeededGenerator) -> Timestamp {
    let ago: Range<Int64> = random.pick([
      -24 * Self.hour..<0, 0..<Self.hour, 0..<Self.hour, 0..<5 * Self.hour, 0..<30 * 24 * Self.hour,
      29 * 24 * Self.hour..<32 * 24 * Self.hour,
    ])
    return Self.now - .random(in: ago, using: &random)
  }

  /// Ranges that end at, near or after the present moment, and begin wherever.
  private func filter(_ random: inout SeededGenerator) -> InteractionFilter {
    var filter = random.chance(0.5) ? InteractionFilter() : random.filter()
    (filter.conversationID, filter.intent, filter.minConfidence, filter.maxConfidence) = (nil, nil, nil, nil)
    if random.chance(0.2) { filter.minConfidence = random.pick([0, 0.1, 0.3, 0.7]) }
    let toTheHour = Self.now.milliseconds % Self.hour
    filter.endTime =
      Self.now
      + random.pick([
        0, 1, -1, -toTheHour, 1 - toTheHour, -toTheHour - 1, Self.hour - toTheHour, 30 * 60_000, -30 * 60_000,
        24 * Self.hour,
        -5 * Self.hour, 10 * Self.hour, .random(in: -50 * Self.hour...50 * Self.hour, using: &random),
      ])
    let span = random.pick([
      30 * 24 * Self.hour, 24 * Self.hour, Self.hour, 2 * Self.hour, 7 * 24 * Self.hour, 24 * Self.hour + toTheHour,
      .random(in: 1...40 * 24 * Self.hour, using: &random),
    ])
    filter.startTime = filter.endTime! - span
    return filter
  }

  @Test func agreesWithACountInMemoryUpToThePresentHour() async throws {
    var random = SeededGenerator()
    try await TestDatabase.withRollupStore { store, database in
      let lease = try database.session()
      var (kept, isHeld, answered) = ([Tenant: [Interaction]](), false, 0)
      for round in 0..<12 {
        // What was recorded last may wait in the change log, or be merged.
        if random.chance(0.5) != isHeld {
          if isHeld { try lease.unlock() } else { try lease.holdRollupLease() }
          isHeld.toggle()
        }
        for tenant in [Tenant.a, .b] {
          let given = (0..<random.pick([20, 60, 150])).map { _ in random.interaction(at: time(&random)) }
          _ = try await store.record(given, for: tenant).map { try $0.get() }
          kept[tenant, default: []] += given
        }
        if random.chance(0.3) {
          // Rows that others change leave stale hours, here and there or nearly everywhere.
          let condition =
            random.chance(0.5) ? "id = (SELECT id FROM parley.interactions ORDER BY id DESC LIMIT 1)" : "true"
          try database.sql("UPDATE parley.interactions SET updated_at = now() WHERE \(condition)")
        }
        if !isHeld, random.chance(0.5) { try await eventually("all is merged") { try database.isMerged() } }
        for _ in 0..<25 {
          let tenant = random.pick([Tenant.a, .b])
          let query = try GetStats(filter: filter(&random), interval: random.pick([nil, .hour, .day]))
            .checked(tenant: tenant, now: Self.now)
          guard let report = try await report(query, of: tenant, now: Self.now, in: database) else { continue }
          answered += 1
          expect(
            report, agreesWith: StatsReport(of: kept[tenant]!, for: query),
            "seed \(random.seed), round \(round), \(query)")
        }
      }
      if isHeld { try lease.unlock() }
      #expect(answered > 200, "seed \(random.seed): hardly anything is answered from rollups")
    }
  }

  /// Of each kind more than are told, some in rollups and some in the change log.
  @Test func tellsMoreThanAThousandGroupsAsACountInMemoryDoes() async throws {
    var random = SeededGenerator()
    let given = (0..<4000).map { place in
      random.interaction(at: time(&random)).with {
        $0.modelUsed = "m\(min(Int.random(in: 0...1300, using: &random), Int.random(in: 0...1300, using: &random)))"
        $0.messageType = "t\(place % 1203)"
        $0.handoffReason = $0.handoffTriggered ? "r\(place % 1999)" : ""
      }
    }
    try await TestDatabase.withRollupStore { store, database in
      for batch in Array(given[..<3000]).pieces(of: 500) { _ = try await store.record(Array(batch), for: .a) }
      try await eventually("all is merged") { try database.isMerged() }
      let lease = try database.session()
      try lease.holdRollupLease()
      for batch in Array(given[3000...]).pieces(of: 500) { _ = try await store.record(Array(batch), for: .a) }
      for interval in [nil, StatsInterval.day] {
        var filter = InteractionFilter()
        (filter.startTime, filter.endTime) = (Self.now - 33 * 24 * Self.hour, Self.now + 25 * Self.hour)
        let query = try GetStats(filter: filter, interval: interval).checked(tenant: .a, now: Self.now)
        let report = try #require(try await report(query, of: .a, now: Self.now, in: database))
        expect(report, agreesWith: StatsReport(of: given, for: query), "seed \(random.seed)")
        #expect(report.byModel.last!.isRemainder && report.byMessageType.last!.isRemainder)
        #expect(report.totals.totalInteractions == 4000)
      }
      try lease.unlock()
    }
  }

  /// However wide the mark is, the response is the rows', and is told from rollups where these are fresh.
  @Test func staleHoursAreReadFromTheirRowsHoweverMany() async throws {
    var random = SeededGenerator()
    let given = (0..<300).map { _ in random.interaction(at: time(&random)) }
    let last = InteractionID(lowerBound: Self.now).hour
    try await TestDatabase.withRollupStore { store, database in
      _ = try await store.record(given, for: .a)
      try await eventually("all is merged") { try database.isMerged() }
      let lease = try database.session()
      try lease.holdRollupLease()
      for marks in [[0..<last - 100], [last - 300..<last - 100], [0..<Int32.max], [last - 5..<last + 1, 10..<20]] {
        try database.sql(
          "DELETE FROM parley.deltas; INSERT INTO parley.deltas (tenant, recount_from, recount_to) VALUES "
            + marks.map { "(1, \($0.lowerBound), \($0.upperBound))" }.joined(separator: ", "))
        for _ in 0..<10 {
          let query = try GetStats(filter: filter(&random), interval: random.pick([nil, .hour, .day]))
            .checked(tenant: .a, now: Self.now)
          guard let report = try await report(query, of: .a, now: Self.now, in: database) else { continue }
          expect(report, agreesWith: StatsReport(of: given, for: query), "seed \(random.seed), \(marks), \(query)")
        }
        var listing = random.filter()
        (listing.startTime, listing.endTime) = (nil, nil)
        let listed = try await store.pages(listing, of: .a).flatMap { $0 }
        #expect(
          listed.map(\.id) == given.filter(listing.selects).map(\.id).sorted(by: >), "seed \(random.seed), \(listing)")
      }
    }
  }
}
