import Core
import Foundation
import TestSupport
import Testing

@testable import Service

/// Statistics from rollups and deltas against plain SQL over the rows.
@Suite(.timeLimit(.minutes(5))) struct RollupTests {
  /// A query that rollups can answer, often by whole hours and over long ranges.
  private func query(_ random: inout SeededGenerator, of tenant: Tenant) throws -> GetStats.Checked {
    var filter = random.chance(0.4) ? InteractionFilter() : random.filter()
    if random.chance(0.8) { (filter.conversationID, filter.intent) = (nil, nil) }
    if random.chance(0.3) { (filter.minConfidence, filter.maxConfidence) = (random.pick([0, 0.1, 0.3, 0.7]), nil) }
    if random.chance(0.2) {
      (filter.minConfidence, filter.maxConfidence) = (nil, random.pick([1, 0.7.nextDown, 0.9.nextDown]))
    }
    filter.startTime = filter.startTime ?? SeededGenerator.dataStart + (random.chance(0.5) ? 0 : 1_234_567)
    filter.endTime = filter.endTime ?? SeededGenerator.dataEnd - (random.chance(0.5) ? 0 : 1_234_567)
    if filter.startTime! >= filter.endTime! { filter.endTime = filter.startTime! + 1 }
    let interval: StatsInterval? = random.pick([nil, .hour, .day])
    return try GetStats(filter: filter, interval: interval).checked(tenant: tenant, now: .now)
  }

  @Test(.notDistributed(.changesOfOthers)) func agreeWithTheRowsWhileTheseComeAndGo() async throws {
    var random = SeededGenerator()
    // Hours that hold many rows, and hours that hold one.
    let times = random.times(60)
    try await TestDatabase.withRollupStore { store, database in
      var counted: Int64 = 0
      for round in 0..<20 {
        let tenant = random.pick([Tenant.a, .b])
        let given = (0..<random.pick([1, 5, 40, 120])).map { _ in
          random.interaction(at: random.chance(0.7) ? random.pick(times) : random.time())
        }
        // A part of it again, which must not count twice.
        let again = given.filter { _ in random.chance(0.1) }
        _ = try await store.record(given, for: tenant).map { try $0.get() }
        _ = try await store.record(again + [random.interaction(at: random.time())], for: tenant).map { try $0.get() }
        if random.chance(0.3) {
          try database.sql(
            random.pick([
              "UPDATE parley.interactions SET deleted_at = now() WHERE id IN (SELECT id FROM parley.interactions ORDER BY random() LIMIT 5)",
              "DELETE FROM parley.interactions WHERE id IN (SELECT id FROM parley.interactions ORDER BY random() LIMIT 5)",
              "UPDATE parley.interactions SET estimated_cost_nanos = 7, model_used = 'changed' WHERE id IN (SELECT id FROM parley.interactions ORDER BY random() LIMIT 3)",
            ]))
        }
        if random.chance(0.3) { try await eventually("all is merged") { try database.isMerged() } }
        for _ in 0..<4 {
          let tenant = random.pick([Tenant.a, .b])
          guard try database.sql("SELECT FROM parley.tenants WHERE name = '\(tenant)'").count == 1 else { continue }
          let query = try query(&random, of: tenant)
          let report = try await store.stats(query, of: tenant)
          let rows = try await database.statsOfRows(query, of: tenant)
          expect(report, agreesWith: rows, "seed \(random.seed), round \(round), \(query)")
          counted += report.totals.totalInteractions
        }
      }
      #expect(counted > 500, "seed \(random.seed): the filters select hardly anything")
    }
  }

  @Test func areReadWithoutTheRowsOnceMerged() async throws {
    var random = SeededGenerator()
    let given = (0..<500).map { _ in random.interaction(at: random.time()) }
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (SeededGenerator.dataStart, SeededGenerator.dataEnd)
    try await TestDatabase.withRollupStore { store, database in
      _ = try await store.record(given, for: .a)
      try await eventually("all is merged") { try database.isMerged() }
      // Out of its sight: no trigger sees it.
      try database.sql("SET session_replication_role = replica; DELETE FROM parley.interactions")
      #expect(try await store.stats(filter, interval: .hour).totals.totalInteractions == 500, "seed \(random.seed)")
    }
  }

  @Test(.notDistributed(.refusedSQL)) func areBuiltForRowsRecordedBefore() async throws {
    var random = SeededGenerator()
    let given = (0..<300).map { _ in random.interaction(at: random.time()) }
    try await TestDatabase.withRollupStore { store, database in
      for tenant in [Tenant.a, .b] { _ = try await store.record(given, for: tenant) }
      try await eventually("all is merged") { try database.isMerged() }
      // As the migration leaves it, and with nonsense from nowhere.
      let backfill = String(decoding: PackageResources.v0003_postings_sql, as: UTF8.self)
      let start = try #require(backfill.range(of: "LOCK TABLE parley.interactions"))
      try database.sql(
        "DELETE FROM parley.rollups WHERE grain IN (1, 4); UPDATE parley.rollups SET grain = 1 WHERE grain = 3; "
          + backfill[start.lowerBound...].replacing("ALTER TABLE parley.deltas RENAME facts TO additions;", with: ""))
      #expect(try !database.isMerged())
      for round in 0..<24 {
        let query = try query(&random, of: .a)
        let rows = try await database.statsOfRows(query, of: .a)
        expect(try await store.stats(query, of: .a), agreesWith: rows, "seed \(random.seed), round \(round)")
        if round == 12 {
          try await eventually("all is counted anew") { try database.isMerged() }
        }
      }
    }
  }

  /// Change records to merge come without end; stale hours get their turn all the same.
  @Test func hoursAreCountedAnewWhileOthersRecord() async throws {
    try await TestDatabase.withRollupStore { store, database in
      _ = try await store.record(.sample(at: Timestamp("2024-05-01T10:00:00.000Z"))).get()
      let recording = Task {
        while !Task.isCancelled { _ = try await store.record(.sample()).get() }
      }
      try database.sql(
        "UPDATE parley.interactions SET estimated_cost_nanos = 7 WHERE id < parley.id_lower_bound('2024-06-01')")
      try await eventually("the hour is counted anew") {
        try database.sql("SELECT count(*) FROM parley.deltas WHERE recount_from IS NOT NULL")[0][0] == "0"
      }
      recording.cancel()
      _ = await recording.result
    }
  }

  /// By SQL, or by a server of before: what has no delta is counted from the rows.
  @Test(.notDistributed(.changesOfOthers), arguments: ["interactions", "interactions_early"])
  func countWhatOthersInsert(into table: String) async throws {
    var random = SeededGenerator()
    let time = Timestamp("2019-12-01T00:00:00.000Z")
    let given = (0..<50).map { _ in random.interaction(at: time + .random(in: 0..<100_000_000, using: &random)) }
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (SeededGenerator.dataStart, SeededGenerator.dataEnd)
    try await TestDatabase.withRollupStore { store, database in
      _ = try await store.record(given, for: .a)
      try await eventually("all is merged") { try database.isMerged() }
      for _ in 0..<2 {
        let counted = try await store.stats(filter).totals.totalInteractions
        try database.sql(
          """
          CREATE TEMP TABLE copied AS SELECT * FROM parley.interactions ORDER BY random() LIMIT 20;
          UPDATE copied SET id = (left(id::text, 24) || lpad(to_hex((random() * 1e9)::bigint), 12, '0'))::uuid;
          INSERT INTO parley.\(table) SELECT * FROM copied;
          DROP TABLE copied
          """)
        #expect(try database.sql("SELECT count(*) FROM parley.deltas")[0][0] != "0")
        #expect(try await store.stats(filter).totals.totalInteractions == counted + 20, "seed \(random.seed)")
        try await eventually("all is counted anew") { try database.isMerged() }
        #expect(try await store.stats(filter).totals.totalInteractions == counted + 20, "seed \(random.seed)")
      }
    }
  }

  /// By the table's name or a partition's, into another hour, all at once, or to what no server would take.
  @Test(
    .notDistributed(.changesOfOthers),
    .serialized,
    arguments: [
      "DELETE FROM parley.interactions_2024_05 WHERE id IN (SELECT id FROM parley.interactions ORDER BY id LIMIT 9)",
      "UPDATE parley.interactions_2024_05 SET model_used = 'changed', deleted_at = now() WHERE context_size % 2 = 0",
      "SELECT parley.ensure_partition(1710000000000); UPDATE parley.interactions SET id = ('018e3' || substr(id::text, 6))::uuid",
      "TRUNCATE parley.interactions_2024_05",
      "TRUNCATE parley.interactions",
      "UPDATE parley.interactions SET confidence_score = -0.5 WHERE context_size % 2 = 0",
      "UPDATE parley.interactions SET confidence_score = 'NaN' WHERE context_size % 2 = 0",
      "UPDATE parley.interactions SET confidence_score = 1e300 WHERE context_size % 2 = 0",
      "UPDATE parley.interactions SET processing_time_ms = -5, prompt_tokens = -2000000000, completion_tokens = -2",
      "UPDATE parley.interactions SET estimated_cost_nanos = -5",
      "UPDATE parley.interactions SET intent_names = ARRAY[NULL, 'x']",
      "UPDATE parley.interactions SET intent_names = '{{a,b},{c,NULL}}'",
      "INSERT INTO parley.deltas (tenant, additions) VALUES (1, '\\xff')",
    ])
  func countWhatOthersChange(by change: String) async throws {
    var random = SeededGenerator()
    let time = Timestamp("2024-05-01T10:00:00.000Z")
    let given = (0..<60).map { _ in random.interaction(at: time + .random(in: 0..<100_000_000, using: &random)) }
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (time - 6_000_000_000, time + 1_000_000_000)
    try await TestDatabase.withRollupStore { store, database in
      for tenant in [Tenant.a, .b] { _ = try await store.record(given, for: tenant).map { try $0.get() } }
      try await eventually("all is merged") { try database.isMerged() }
      try database.sql(change)
      try await eventually("all is counted anew") { try database.isMerged() }
      for tenant in [Tenant.a, .b] {
        let key = try database.key(of: tenant).rawValue
        let count = try database.rowCount("tenant = \(key) AND deleted_at IS NULL")
        let totals = try await store.stats(GetStats(filter: filter).checked(tenant: tenant, now: .now), of: tenant)
          .totals
        #expect(totals.totalInteractions == Int64(count), "seed \(random.seed)")
      }
    }
  }

  @Test func sumsOfCostsPastSixtyFourBitsAreRefusedAndTheirPartsTold() async throws {
    let time = Timestamp("2024-05-01T10:00:00.000Z")
    let dear = (0..<1200).map { _ in
      Interaction.sample(at: time) { $0.estimatedCostNanos = Limits.costNanosMax }
    }
    let cheap = (0..<30).map { _ in Interaction.sample(at: time + 3_600_000) { $0.estimatedCostNanos = 1 } }
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (time, time + 7_200_000)
    try await TestDatabase.withRollupStore { store, database in
      _ = try await store.record(dear + cheap, for: .a)
      for _ in 0..<2 {
        let refusal = await #expect(throws: RPCError.self) { try await store.stats(filter) }
        #expect(refusal?.reason == .sumOutOfRange)
        try await eventually("all is merged") { try database.isMerged() }
      }
      filter.startTime = time + 3_600_000
      #expect(try await store.stats(filter).totals.totalCostNanos == 30)
    }
  }

  @Test func fewInteractionsAreToldWithExactPercentiles() async throws {
    let time = Timestamp("2024-05-01T10:00:00.000Z")
    let given = [999, 1001, 1003].map { milliseconds in
      Interaction.sample(at: time) { $0.processingTimeMilliseconds = milliseconds }
    }
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (time, time + 3_600_000)
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(given, for: .a)
      #expect(try await store.stats(filter).totals.p50 == 1001)
    }
  }

  // MARK: Without a database

  @Test func everyTimeIsNearTheMiddleOfItsBucket() {
    var random = SeededGenerator()
    var times = Array(Int32(0)...5000) + [.max, .max - 1, 1 << 30, (1 << 30) - 1]
    times += (0..<10_000).map { _ in
      Int32.random(in: 0...(.max), using: &random) >> Int32.random(in: 0...24, using: &random)
    }
    for time in times {
      let told = TimeHistogram.time(of: TimeHistogram.bucket(of: time))
      #expect(isNear(told, Int64(time)), "seed \(random.seed): \(time) is told as \(told)")
      if time < 128 { #expect(told == Int64(time)) }
    }
    // Buckets are in the order of their times, and none is left out.
    #expect(
      zip(times.sorted(), times.sorted().dropFirst()).allSatisfy {
        TimeHistogram.bucket(of: $0) <= TimeHistogram.bucket(of: $1)
      })
  }

  @Test func sumsComeBackFromTheirBytes() throws {
    var random = SeededGenerator()
    for _ in 0..<200 {
      var (sums, entries) = (Sums(), ChangeRecordWriter())
      let given = (0..<Int.random(in: 1...50, using: &random)).map { _ in
        ChangeEntry(random.interaction(at: random.time()))
      }
      for entry in given {
        sums.add(entry)
        entries.append(entry)
      }
      #expect(
        try sums.bytes.withUnsafeBytes { bytes throws(any Error) in try Sums(bytes) } == sums, "seed \(random.seed)"
      )
      let read = try entries.bytes.withUnsafeBytes { bytes throws(any Error) in try ChangeRecordReader.entries(bytes) }
      #expect(
        read.map(\.id) == given.map(\.id) && read.map(\.group) == given.map(\.group)
          && read.map(\.intents) == given.map(\.intents), "seed \(random.seed)")
      var again = Sums()
      for entry in read { again.add(entry) }
      #expect(again == sums, "seed \(random.seed)")
    }
  }
}
