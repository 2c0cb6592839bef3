import Core
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

/// The rollup job where not all is well: what fails costs the tenant it concerns, and nobody else.
@Suite(.timeLimit(.minutes(5))) struct RollupJobTests {
  private static let time = Timestamp("2024-05-01T10:00:00.000Z")

  /// Some of each tenant, within a few hours.
  private func interactions(_ count: Int, _ random: inout SeededGenerator) -> [Interaction] {
    (0..<count).map { _ in random.interaction(at: Self.time + .random(in: 0..<14_400_000, using: &random)) }
  }

  private func query(_ tenant: Tenant) throws -> GetStats.Checked {
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (Self.time - 1_000_000, Self.time + 100_000_000)
    return try GetStats(filter: filter, interval: .hour).checked(tenant: tenant, now: .now)
  }

  private func expectExactStats(
    _ store: PostgresStore, _ kept: [Interaction], of tenant: Tenant, _ comment: Comment
  ) async throws {
    let query = try query(tenant)
    expect(try await store.stats(query, of: tenant), agreesWith: StatsReport(of: kept, for: query), comment)
  }

  @Test func chunkThatIsLongerThanAnyOfOursGrowsNoFurther() async throws {
    var random = SeededGenerator()
    let (given, more) = (interactions(5, &random), interactions(5, &random))
    try await TestDatabase.withRollupStore { store, database in
      _ = try await store.record(given, for: .a).map { try $0.get() }
      try await eventually("all is merged") { try database.isMerged() }
      // Every id 200 times over: longer than a chunk of ours, and still whole ids.
      try database.sql("UPDATE parley.postings SET ids = decode(repeat(encode(ids, 'hex'), 200), 'hex')")
      let lengths = "SELECT facet, hour, octet_length(ids) FROM parley.postings WHERE chunk = 0 ORDER BY facet, hour"
      let before = try Set(database.sql(lengths))
      _ = try await store.record(more, for: .a).map { try $0.get() }
      try await eventually("all is merged") { try database.isMerged() }
      #expect(try before.isSubset(of: database.sql(lengths)), "seed \(random.seed)")
      #expect(try !database.sql("SELECT FROM parley.postings WHERE chunk = 1").isEmpty, "seed \(random.seed)")
    }
  }

  /// In what is kept of tenant a, or in the change log.
  @Test(
    .serialized,
    arguments: [
      "UPDATE parley.rollups SET sums = '' WHERE tenant = 1",
      "UPDATE parley.rollups SET sums = '' WHERE tenant = 1 AND grain = 4",
      "UPDATE parley.rollups SET sums = '' WHERE tenant = 1 AND grain = 1",
      "UPDATE parley.rollups SET sums = '\\x01ffffffffffffffff7f01' || decode(repeat('ffffffffffffffff7f', 15), 'hex')",
      "UPDATE parley.rollups SET sums = sums || '\\xa01f01' WHERE tenant = 1",
      "UPDATE parley.rollups SET sums = '\\x01' || decode(repeat('00', 100000), 'hex') WHERE tenant = 1",
      "UPDATE parley.postings SET ids = substr(ids, 1, length(ids) - 3) WHERE tenant = 1",
      "UPDATE parley.postings SET ids = decode(repeat('00', 100000), 'hex') WHERE tenant = 1",
      "UPDATE parley.postings SET chunk = 2147483647 WHERE tenant = 1",
      "UPDATE parley.postings SET chunk = -1 WHERE tenant = 1",
      "INSERT INTO parley.deltas (tenant, additions) VALUES (1, '\\xff'), (1, '\\x00ff'), (1, '')",
      "INSERT INTO parley.deltas (tenant, additions) SELECT 1, decode(repeat('00', 17000000), 'hex')",
      "INSERT INTO parley.deltas (tenant, recount_from, recount_to) VALUES (1, 10, 5), (1, 2147483647, -2147483648)",
      "INSERT INTO parley.deltas (tenant, recount_from, recount_to) VALUES (1, -2147483648, 2147483647)",
    ]) func damageCostsItsTenantAndHour(_ damage: String) async throws
  {
    var random = SeededGenerator()
    let given = interactions(80, &random)
    let more = interactions(80, &random)
    let comment = Comment(rawValue: "seed \(random.seed), \(damage)")
    try await TestDatabase.withRollupStore { store, database in
      for tenant in [Tenant.a, .b] { _ = try await store.record(given, for: tenant).map { try $0.get() } }
      try await eventually("all is merged") { try database.isMerged() }
      try database.sql("SET session_replication_role = replica; \(damage)")
      // The range cuts no hour: rollups answer for all of it.
      for tenant in [Tenant.a, .b] { try await expectExactStats(store, given, of: tenant, comment) }
      for tenant in [Tenant.a, .b] { _ = try await store.record(more, for: tenant).map { try $0.get() } }
      for tenant in [Tenant.a, .b] { try await expectExactStats(store, given + more, of: tenant, comment) }
      try await eventually("all is merged, and what was met of the damage rebuilt") { try database.isMerged() }
      for tenant in [Tenant.a, .b] { try await expectExactStats(store, given + more, of: tenant, comment) }
    }
  }

  /// What has been locked is waited for a second, and then put off for its tenant.
  @Test(.serialized, arguments: ["rollups", "postings", "deltas"])
  func aLockCostsTheTenantWhoseRowsItHolds(on table: String) async throws {
    var random = SeededGenerator()
    let given = interactions(40, &random)
    try await TestDatabase.withRollupStore { store, database in
      for tenant in [Tenant.a, .b] { _ = try await store.record(given, for: tenant) }
      try await eventually("all is merged") { try database.isMerged() }
      let session = try database.session()
      if table == "deltas" {
        let lease = try database.session()
        try lease.holdRollupLease()
        _ = try await store.record(interactions(5, &random), for: .a)
        try session.sql("BEGIN; SELECT FROM parley.deltas WHERE tenant = 1 FOR UPDATE")
        try lease.unlock()
      } else {
        try session.sql("BEGIN; SELECT FROM parley.\(table) WHERE tenant = 1 FOR UPDATE")
        _ = try await store.record(given.map { random.interaction(at: $0.createdAt) }, for: .a)
      }
      _ = try await store.record(interactions(40, &random), for: .b)
      let (a, b) = (try database.key(of: .a).rawValue, try database.key(of: .b).rawValue)
      try await eventually("the other tenant's change records are merged") {
        try database.sql("SELECT FROM parley.deltas WHERE tenant = \(b)").isEmpty
      }
      #expect(try !database.sql("SELECT FROM parley.deltas WHERE tenant = \(a)").isEmpty)
      try session.unlock()
      try await eventually("all is merged") { try database.isMerged() }
      #expect(try await database.differences() == [])
    }
  }

  /// Neither merged nor removed nor overwritten; the rows answer meanwhile.
  @Test func whatANewerServerWroteIsLeftAlone() async throws {
    var random = SeededGenerator()
    let given = interactions(60, &random)
    let more = interactions(60, &random)
    try await TestDatabase.withRollupStore { store, database in
      for tenant in [Tenant.a, .b] { _ = try await store.record(given, for: tenant) }
      try await eventually("all is merged") { try database.isMerged() }
      let newer = "SELECT count(*) FROM parley.rollups WHERE sums = '\\x0203'"
      try database.sql(
        """
        UPDATE parley.rollups SET sums = '\\x0203' WHERE tenant = 1;
        INSERT INTO parley.deltas (tenant, additions) VALUES (2, '\\x0102')
        """)
      let count = try database.sql(newer)
      for tenant in [Tenant.a, .b] { try await expectExactStats(store, given, of: tenant, "newer") }
      for tenant in [Tenant.a, .b] { _ = try await store.record(more, for: tenant) }
      try await eventually("what this server wrote is merged") {
        try database.sql("SELECT FROM parley.deltas WHERE additions IS NOT NULL").count == 1
      }
      for tenant in [Tenant.a, .b] {
        try await expectExactStats(store, given + more, of: tenant, "newer")
        let filter = random.filter()
        let listed = try await store.pages(filter, of: tenant).flatMap { $0 }
        #expect(
          listed.map(\.id) == (given + more).filter(filter.selects).map(\.id).sorted(by: >), "seed \(random.seed)")
      }
      #expect(try database.sql(newer) == count)
      #expect(try database.sql("SELECT FROM parley.deltas WHERE additions = '\\x0102'").count == 1)

      // Nor by the command.
      let verifier = Verifier(url: database.url, logger: .silent)
      var days: [Verifier.Day] = []
      try await verifier.verify(nil, from: nil, to: nil) { days.append($0) }
      #expect(days.allSatisfy { !$0.agrees })
      for day in days {
        let repaired = try await verifier.repair(day)
        #expect(!repaired.agrees)
      }
      #expect(days.last!.differences.contains { $0.what.contains("newer server") })
      #expect(try database.sql(newer) == count)

      // As a newer server would, that merges its own.
      try database.sql(
        "DELETE FROM parley.rollups WHERE sums = '\\x0203'; DELETE FROM parley.deltas WHERE additions = '\\x0102'")
      for day in days {
        let repaired = try await verifier.repair(day)
        #expect(repaired.agrees, "\(repaired)")
      }
      for tenant in [Tenant.a, .b] { try await expectExactStats(store, given + more, of: tenant, "repaired") }
    }
  }

  /// As where a server of before, which knows of no lease, runs beside: one of the two fails and tries again.
  @Test func twoAtOnceStayRight() async throws {
    var random = SeededGenerator()
    let tenants = (0..<4).map { Tenant("tenant-\($0)")! }
    try await TestDatabase.withRollupStore { store, database in
      let lease = try database.session()
      try lease.holdRollupLease()
      var kept: [Tenant: [Interaction]] = [:]
      for round in 0..<6 {
        for tenant in tenants {
          for _ in 0..<8 {
            let given = interactions(12, &random)
            _ = try await store.record(given, for: tenant).map { try $0.get() }
            kept[tenant, default: []] += given
          }
        }
        let change = random.pick(["UPDATE parley.interactions SET model_used = model_used", "SELECT"])
        try database.sql("\(change)")
        await withTaskGroup { group in
          for _ in 0..<2 { group.addTask { await Self.mergeAll(database) } }
        }
        #expect(try database.isMerged(), "seed \(random.seed), round \(round)")
        #expect(try await database.differences() == [], "seed \(random.seed), round \(round)")
      }
      for tenant in tenants { try await expectExactStats(store, kept[tenant]!, of: tenant, "seed \(random.seed)") }
    }
  }

  /// Works without a lease until nothing is left.
  private static func mergeAll(_ database: TestDatabase) async {
    let (owner, putOff) = (database.owner(), PutOffTenants(logger: .silent))
    let runner = JobRunner(
      [
        .init(RollupJob(putOff, lease: nil, logger: .silent), on: owner),
        .init(RebuildJob(putOff, lease: nil, logger: .silent), on: owner),
      ], logger: .silent)
    for _ in 0..<1000 {
      do throws(PostgresError) {
        try await runner.runOnce()
        if (try? database.isMerged()) ?? true { return }
      } catch {
        #expect(error.isTransient, "\(error)")
      }
    }
  }

  /// The lease is the owner's: what any user of the database can lock does not stop the job; nor does its absence.
  @Test func nobodyElseCanStopIt() async throws {
    try await TestDatabase.withRollupStore { store, database in
      let session = try database.session()
      try session.sql("SELECT pg_advisory_lock(hashtextextended('parley.rollups', 0))")
      _ = try await store.record(.sample())
      try await eventually("it is merged beside an advisory lock") { try database.isMerged() }
      try database.sql("DELETE FROM parley.leases")
      _ = try await store.record(.sample())
      try await eventually("it is merged, and the lease is there again") { try database.isMerged() }
      try database.sql(
        """
        SET ROLE parley_reader;
        DO $$ BEGIN
          PERFORM FROM parley.leases FOR UPDATE;
          RAISE 'readers can lock leases';
        EXCEPTION WHEN insufficient_privilege THEN NULL; END $$
        """)
    }
  }

  @Test func rebuildsADayInPieces() async throws {
    var random = SeededGenerator()
    let given = interactions(100, &random)
    try await TestDatabase.withRollupStore { store, database in
      let lease = try database.session()
      try lease.holdRollupLease()
      for tenant in [Tenant.a, .b] { _ = try await store.record(given, for: tenant).map { try $0.get() } }
      let key = try database.key(of: .a)
      let owner = database.owner()
      let pieces = try await owner.run { (connection) throws(PostgresError) in
        try connection.add(StaleHours(0..<Int32.max), of: key)
        var pieces = 0
        while try !connection.staleHours(of: key).isEmpty {
          var piece = RebuildPiece(interactionsMax: 30)
          _ = try connection.withLease(nil) { (connection) throws(PostgresError) in
            try connection.rebuild(key, .standard, &piece)
          }
          pieces += 1
        }
        return pieces
      }.get()
      // Four or five hours of some 25, and the time after them.
      #expect((4...7).contains(pieces), "seed \(random.seed)")
      #expect(try await database.differences() == [], "seed \(random.seed)")
    }
  }

  /// What waits in the change log, with the job held up, is read record by record, and listed up to a bound.
  @Test func aLongChangeLogIsReadPieceByPiece() async throws {
    var random = SeededGenerator()
    let given = (0..<Limits.pendingIDsHeldMax + 1001).map { place in
      Interaction.sample(at: Self.time + Int64(place)) { $0.modelUsed = place % 1000 == 7 ? "rare" : "common" }
    }
    try await TestDatabase.withRollupStore { store, database in
      let lease = try database.session()
      try lease.holdRollupLease()
      for batch in given.pieces(of: 1000) { _ = try await store.record(Array(batch), for: .a) }
      _ = try await store.record(interactions(5, &random), for: .b)
      #expect(try database.sql("SELECT FROM parley.deltas").count > 10)
      let largest = Mutex((rows: 0, records: 0))
      let entries = try await database.reading(as: .a) { (connection, key) throws(PostgresError) in
        var read = Command(Statement("all_of_them", "SELECT additions FROM parley.deltas"))
        read.isReadRowByRow = true
        try connection.pipeline([read]) { _, rows in
          largest.withLock { $0 = (max($0.rows, rows.count), $0.records + rows.count) }
        }
        var entries = 0
        let log = try connection.changeLog(of: key, .standard) { _, _ in entries += 1 }
        return log.unreadable == nil ? entries : 0
      }
      #expect(largest.withLock { $0.rows == 1 && $0.records > 10 }, "one record at a time is in memory")
      #expect(entries == given.count)
      #expect(try await store.stats(query(.a), of: .a).totals.totalInteractions == Int64(given.count))
      for model in ["rare", "common"] {
        var filter = InteractionFilter()
        filter.modelUsed = model
        let listed = try await store.page(
          ListInteractions(filter: filter, pageSize: 100).checked(tenant: .a, now: .now), of: .a)
        let expected = given.filter { $0.content.modelUsed == model }.suffix(100).map(\.id)
        #expect(listed.interactions.map(\.id) == expected.reversed())
      }
      try lease.unlock()
      try await eventually("all is merged") { try database.isMerged() }
      #expect(try await database.differences() == [])
    }
  }

  /// A long snapshot, as pg_dump has one, keeps merged change records as dead rows, and whoever reads the change log passes
  /// over them: that costs time for as long as the snapshot lasts, and changes no response. VACUUM ends it.
  @Test(.notDistributed(.coordinatorTables)) func aLongSnapshotMakesTheChangeLogLongerToRead() async throws {
    var random = SeededGenerator()
    let given = interactions(4000, &random)
    try await TestDatabase.withRollupStore { store, database in
      func pagesRead() throws -> Int {
        let plan = try database.sql(
          """
          EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off, SUMMARY off)
            SELECT additions FROM parley.deltas WHERE tenant = 1 AND additions IS NOT NULL
          """)
        let execution = plan.joined().prefix { !$0.hasPrefix("Planning") }
        let line = execution.first { $0.contains("Buffers: shared") } ?? ""
        return line.split(whereSeparator: { !$0.isNumber }).compactMap { Int($0) }.reduce(0, +)
      }
      let snapshot = try database.session()
      try snapshot.sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM parley.deltas")
      for batch in given.pieces(of: 20) { _ = try await store.record(Array(batch), for: .a) }
      try await eventually("all is merged") { try database.isMerged() }
      try database.sql("VACUUM parley.deltas")
      #expect(try pagesRead() > 10)
      try await expectExactStats(store, given, of: .a, "seed \(random.seed)")
      try snapshot.sql("COMMIT")
      try await eventually("they are gone") {
        try database.sql("VACUUM parley.deltas")
        return try pagesRead() < 5
      }
    }
  }

  @Test(.notDistributed(.changesOfOthers)) func truncatingAPartitionMarksItsHoursAlone() async throws {
    try await TestDatabase.withRollupStore { store, database in
      for time in [Self.time, Timestamp("2019-05-01T10:00:00.000Z")] {
        for tenant in [Tenant.a, .b] { _ = try await store.record(.sample(at: time), for: tenant) }
      }
      try await eventually("all is merged") { try database.isMerged() }
      let lease = try database.session()
      try lease.holdRollupLease()
      func marked(by change: String) throws -> [[String]] {
        try database.sql(
          """
          DELETE FROM parley.deltas; \(change);
          SELECT DISTINCT tenant, to_timestamp(recount_from * 3600.0) AT TIME ZONE 'UTC',
            to_timestamp(recount_to * 3600.0) AT TIME ZONE 'UTC'
          FROM parley.deltas ORDER BY tenant
          """)
      }
      #expect(
        try marked(by: "TRUNCATE parley.interactions_2024_05")
          == ["1", "2"].map { [$0, "2024-05-01 00:00:00", "2024-06-01 00:00:00"] })
      #expect(
        try marked(by: "TRUNCATE parley.interactions_early")
          == ["1", "2"].map { [$0, "1970-01-01 00:00:00", "2020-01-01 00:00:00"] })
      let all = try marked(by: "TRUNCATE parley.interactions")
      #expect(all.contains { $0[1] == "1970-01-01 00:00:00" && $0[2] > "2024-06-01" })
    }
  }
}
