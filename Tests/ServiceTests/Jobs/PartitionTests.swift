import Core
import Postgres
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct PartitionTests {
  @Test(.notDistributed(.partitionsOfRows)) func putsEachTimeIntoItsMonth() async throws {
    let places = [
      ("1970-01-01T00:00:00.000Z", "early"),
      ("2001-09-09T01:46:40.000Z", "early"),
      ("2019-12-31T23:59:59.999Z", "early"),
      ("2020-01-01T00:00:00.000Z", "2020_01"),
      ("2020-01-31T23:59:59.999Z", "2020_01"),
      ("2020-02-01T00:00:00.000Z", "2020_02"),
      ("2020-02-29T23:59:59.999Z", "2020_02"),
      ("2020-03-01T00:00:00.000Z", "2020_03"),
      ("2023-02-28T23:59:59.999Z", "2023_02"),
      ("2023-03-01T00:00:00.000Z", "2023_03"),
      ("2024-12-31T23:59:59.999Z", "2024_12"),
      ("2025-01-01T00:00:00.000Z", "2025_01"),
    ]
    let given = places.map { Interaction.sample(at: Timestamp($0.0)) }
    try await TestDatabase.withStore { store, database in
      #expect(try await store.record(given, for: .a) == given.map(Outcome.new))
      for (interaction, (time, partition)) in zip(given, places) {
        #expect(
          try database.sql("SELECT tableoid::regclass FROM parley.interactions WHERE id = '\(interaction.id)'")
            == [["parley.interactions_\(partition)"]], "\(time)")
        #expect(try await store.interaction(interaction.id, of: .a)?.createdAt == Timestamp(time))
      }
      // One a month, and none before 2020 but the one for all of them.
      let before2020 = try database.sql(
        """
        SELECT inhrelid::regclass FROM pg_inherits
        WHERE inhparent = 'parley.interactions'::regclass AND inhrelid::regclass::text < 'parley.interactions_2020'
        """)
      #expect(before2020 == [])
      #expect(try await store.pages().flatMap { $0 }.map(\.id) == given.map(\.id).sorted(by: >))
    }
  }

  @Test func makesThePartitionsOfTheComingMonthsAhead() async throws {
    try await TestDatabase.withStore { _, database in
      for days in [0, 31, 62] {
        try await eventually("the partition in \(days) days is there") {
          try database.sql(
            """
            SELECT to_regclass(
              'parley.interactions_' || to_char(now() AT TIME ZONE 'UTC' + interval '\(days) days', 'YYYY_MM'))
            """)[0][0] != ""
        }
      }
    }
  }

  @Test(.notDistributed(.partitionsOfRows)) func isMadeOnceByRecordersInConcert() async throws {
    let months = (1...6).map { Timestamp("2022-0\($0)-15T12:00:00.000Z") }
    try await TestDatabase.withStore { one, database in
      try await database.withStore { other in
        let answers = await Calls(60) { call throws(RPCError) in
          try await (call % 2 == 0 ? one : other).record(.sample(at: months[call % 6]))
        }.all()
        for answer in answers { #expect(throws: Never.self) { try answer.get().get() } }
        let made = try database.sql(
          "SELECT tableoid::regclass, count(*) FROM parley.interactions GROUP BY 1 ORDER BY min(tableoid::regclass::text)"
        )
        #expect(made == (1...6).map { ["parley.interactions_2022_0\($0)", "10"] })
      }
    }
  }

  @Test func isMadeAnewWhereItWasDropped() async throws {
    try await TestDatabase.withStore { store, database in
      for time in ["2021-09-01T01:00:00.000Z", "2021-09-01T02:00:00.000Z"] {
        let recorded = try await store.record(.sample(at: Timestamp(time)))
        #expect(throws: Never.self) { try recorded.get() }
        try database.sql("DROP TABLE parley.interactions_2021_09")
      }
    }
  }

  /// All have seen that it is missing before the first makes it.
  @Test func isMadeOnceByRecordersThatMissItTogether() async throws {
    try await TestDatabase.with { database in
      let stores = (0..<5).map { _ in PostgresStore(database.patient(), logger: .silent) }
      let running = stores.map { store in Task { await store.run() } }
      let session = try database.session()
      for store in stores { try await database.warmUp(store) }
      try session.sql("SELECT pg_advisory_lock(hashtextextended('parley.ensure_partition', 0))")
      let calls = Calls(stores.count) { call throws(RPCError) in
        try await stores[call].record(.sample(at: Timestamp("2021-06-15T12:00:00.000Z")))
      }
      try await eventually("all wait for the right to make it") {
        try session.backends(.owner, "wait_event_type = 'Lock'").count == stores.count
      }
      try session.sql("SELECT pg_advisory_unlock_all()")
      for answer in await calls.all() { #expect(throws: Never.self) { try answer.get().get() } }
      #expect(try database.sql("SELECT count(*) FROM parley.interactions_2021_06") == [["\(stores.count)"]])
      for store in stores { store.close() }
      for task in running { await task.value }
    }
  }

  @Test func agreesWithTheDatabaseOnTheTimeOfAnID() async throws {
    var random = SeededGenerator()
    // Up to the last an id can hold.
    let latest: Int64 = 1 << 48 - 1
    let times =
      [0, 1, 999, 1000, 1_577_836_799_999, 1_577_836_800_000, latest].map(Timestamp.init(milliseconds:))
      + (0..<300).map { _ in
        Timestamp(
          milliseconds: Int64.random(in: 0...latest, using: &random) >> Int64.random(in: 0..<40, using: &random))
      }
    let ids = times.map { random.id(at: $0) }
    try await TestDatabase.with { database in
      let values = zip(ids, times).map { "('\($0)'::uuid, \($1.milliseconds)::bigint)" }.joined(separator: ", ")
      let rows = try database.sql(
        """
        SELECT
          parley.id_milliseconds(id),
          -- Seconds apart from the rest: an interval is multiplied by a double, which holds no more.
          parley.id_lower_bound(
            'epoch'::timestamptz + milliseconds / 1000 * interval '1 s' + milliseconds % 1000 * interval '1 ms')
        FROM (VALUES \(values)) AS v (id, milliseconds)
        """)
      try #require(rows.count == times.count)
      for (row, time) in zip(rows, times) {
        #expect(row == ["\(time.milliseconds)", "\(InteractionID(lowerBound: time))"], "seed \(random.seed)")
      }
    }
  }

  @Test func boundsFromBelowWithinAMillisecond() async throws {
    try await TestDatabase.with { database async throws in
      // The least id at or after a moment: the next whole millisecond's.
      for fraction in ["0.000001", "0.0004", "0.0005", "0.0009"] {
        #expect(
          try database.sql("SELECT parley.id_lower_bound('epoch'::timestamptz + interval '\(fraction) s')")
            == [["\(InteractionID(lowerBound: Timestamp(milliseconds: 1)))"]], "\(fraction) s")
      }
    }
  }
}
