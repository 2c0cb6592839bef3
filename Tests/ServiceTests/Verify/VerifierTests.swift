import Core
import Postgres
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct VerifierTests {
  private static let time = Timestamp("2024-05-01T10:00:00.000Z")
  private static let end = time + 30 * 3_600_000

  /// Runs `body` with two tenants' interactions of two days, merged, and no server running.
  private func withRecorded(_ body: (TestDatabase, Verifier) async throws -> Void) async throws {
    var random = SeededGenerator()
    let given = (0..<300).map { _ in
      random.interaction(at: Self.time + .random(in: 0..<30 * 3_600_000, using: &random))
    }
    try await TestDatabase.with { database in
      try database.registerTenants()
      try await database.withStore(.init(url: database.url)) { store in
        for tenant in [Tenant.a, .b] { _ = try await store.record(given, for: tenant).map { try $0.get() } }
      }
      #expect(try database.isMerged(), "a store that closes merges what is left")
      try await body(database, Verifier(url: database.url, logger: .silent))
    }
  }

  private func days(
    _ verifier: Verifier, _ tenant: Tenant? = nil, from start: Timestamp? = nil, to end: Timestamp? = nil
  ) async throws -> [Verifier.Day] {
    var days: [Verifier.Day] = []
    try await verifier.verify(tenant, from: start, to: end) { days.append($0) }
    return days
  }

  @Test func findsNothingWhereAllAgrees() async throws {
    try await withRecorded { database, verifier in
      let days = try await days(verifier)
      #expect(days.map(\.tenant) == [.a, .a, .b, .b])
      #expect(days.reduce(0) { $0 + $1.interactions } == 600)
      #expect(days.allSatisfy { $0.differences.isEmpty && $0.waitingHours == 0 })
      #expect(try await self.days(verifier, .b, from: Self.time, to: Self.time + 3_600_000).map(\.tenant) == [.b])
      let failure = await #expect(throws: Verifier.Failure.self) { try await self.days(verifier, Tenant("nobody")!) }
      #expect(failure?.description.contains("nobody") == true)
    }
  }

  /// Each by a way that no trigger sees.
  @Test(
    .serialized,
    arguments: [
      "DELETE FROM parley.interactions WHERE id IN (SELECT id FROM parley.interactions LIMIT 1)",
      "UPDATE parley.interactions SET estimated_cost_nanos = estimated_cost_nanos / 2 + 1",
      "UPDATE parley.interactions SET model_used = 'other' WHERE tenant = 1",
      "DELETE FROM parley.rollups WHERE grain = 4",
      "DELETE FROM parley.rollups WHERE grain = 1 AND tenant = 2",
      "UPDATE parley.rollups SET message_type = message_type || 'x' WHERE grain = 0 AND confidence_bin = 9",
      "DELETE FROM parley.postings WHERE facet IN (SELECT facet FROM parley.postings LIMIT 1)",
      "UPDATE parley.postings SET ids = ids || substr(ids, 1, 16) WHERE hour % 2 = 0",
      "INSERT INTO parley.postings VALUES (1, 1, 1, 0, decode(repeat('00', 16), 'hex'))",
      "UPDATE parley.rollups SET sums = substr(sums, 1, 8) WHERE grain <> 2",
      "UPDATE parley.rollups SET sums = '' WHERE grain = 2",
      "UPDATE parley.rollups SET sums = sums || '\\x80' WHERE grain = 1",
      "UPDATE parley.rollups SET sums = '\\x01ffffffffffffffff7f01' || decode(repeat('ffffffffffffffff7f', 15), 'hex')",
      "UPDATE parley.postings SET ids = substr(ids, 1, length(ids) - 3) WHERE chunk = 0 AND hour % 2 = 0",
      "INSERT INTO parley.rollups SELECT 1, 0, 24, '', '', false, '', 0, sums FROM parley.rollups LIMIT 1",
    ]) func findsAndRepairs(_ damage: String) async throws
  {
    try await withRecorded { database, verifier in
      try database.sql("SET session_replication_role = replica; \(damage)")
      let differing = try await days(verifier).filter { !$0.differences.isEmpty }
      #expect(!differing.isEmpty)
      for day in differing {
        let repaired = try await verifier.repair(day)
        #expect(repaired.differences.isEmpty, "\(repaired)")
      }
      #expect(try await days(verifier).allSatisfy { $0.differences.isEmpty && $0.waitingHours == 0 })
    }
  }

  /// A value that no server would take counts as the nearest it would, whichever way it is counted.
  @Test(
    .serialized,
    arguments: [
      "confidence_score = 'NaN'", "confidence_score = '-Infinity'", "confidence_score = 1e300",
      "confidence_score = -0.5",
      "processing_time_ms = -5", "prompt_tokens = -2000000000, completion_tokens = -2", "estimated_cost_nanos = -5",
      "intent_names = ARRAY[NULL, 'x']", "handoff_triggered = false, handoff_reason = 'kept'",
    ]) func repairsWhatNoServerWouldTake(_ change: String) async throws
  {
    try await withRecorded { database, verifier in
      try database.sql(
        "SET session_replication_role = replica; UPDATE parley.interactions SET \(change) WHERE tenant = 1")
      let differing = try await days(verifier).filter { !$0.agrees }
      #expect(differing.map(\.tenant) == [.a, .a])
      for day in differing {
        let repaired = try await verifier.repair(day)
        #expect(repaired.agrees, "\(repaired)")
      }
      #expect(try await days(verifier).allSatisfy(\.agrees))
      var filter = InteractionFilter()
      (filter.startTime, filter.endTime) = (Self.time, Self.end)
      for (least, most) in [(nil, nil), (0.7, nil), (nil, 0.1.nextDown)] as [(Double?, Double?)] {
        (filter.minConfidence, filter.maxConfidence) = (least, most)
        let query = try GetStats(filter: filter, interval: .hour).checked(tenant: .a, now: .now)
        let byRollups = try await database.reading(as: .a) { (connection, key) throws(PostgresError) in
          try StatsReader(query, tenant: key)!.report(on: connection, exactUpTo: -1)
        }
        expect(try #require(byRollups), agreesWith: try await database.statsOfRows(query, of: .a), "\(change)")
      }
    }
  }

  @Test func looksForTheNextHourByTheKeyOfRollups() async throws {
    try await TestDatabase.with { database in
      let text = String(decoding: PackageResources.hour_next_sql, as: UTF8.self)
        .replacing("$1::int4", with: "1").replacing("$2::int4", with: "400000")
      let plan = try database.sql("SET enable_seqscan = off; SET enable_bitmapscan = off; EXPLAIN \(text)")
        .map { $0[0] }.joined(separator: "\n")
      #expect(plan.contains("(tenant = 1) AND (grain = (every.grain)::smallint) AND (start >= 400000)"), "\(plan)")
    }
  }

  @Test(.notDistributed(.changesOfOthers)) func countsWhatIsNotFoldedYetAsKept() async throws {
    try await withRecorded { database, verifier in
      let more = (0..<40).map { Interaction.sample(at: Self.time + Int64($0) * 1_000_000) }
      let (owner, numbers) = (database.owner(), TenantNumbers())
      let writer = BatchWriter(owner, partitions: PartitionManager(owner), numbers: numbers, logger: .silent)
      let tenant = try database.numbered(.a)
      let outcomes = await writer.write(more.map { RecordRow($0, tenant: tenant) })
      #expect(outcomes.allSatisfy { if case .told(.success) = $0 { true } else { false } })
      #expect(try !database.isMerged())
      let days = try await days(verifier)
      #expect(days.allSatisfy { $0.differences.isEmpty })
      #expect(days.reduce(0) { $0 + $1.interactions } == 640)

      try database.sql("UPDATE parley.interactions SET model_used = 'late' WHERE model_used = 'claude'")
      #expect(try await self.days(verifier).contains { $0.waitingHours > 0 && $0.differences.isEmpty })
    }
  }

  /// What a restore leaves behind: rows of a number that is nobody's.
  @Test(.notDistributed(.changedTenants)) func findsNumbersThatNoTenantHas() async throws {
    try await withRecorded { database, verifier in
      #expect(try await verifier.unknownNumbers().isEmpty)
      try database.sql("DELETE FROM parley.tenants WHERE name = '\(Tenant.a)'")
      var unknown = try await verifier.unknownNumbers()
      #expect(unknown.map(\.number) == [1])
      #expect(unknown.map(\.hasInteractions) == [true])
      for remnant in [
        "INSERT INTO parley.deltas (tenant, recount_from, recount_to) VALUES (3, 1, 2)",
        "INSERT INTO parley.rollups SELECT 4, grain, start, model_used, message_type, handoff_triggered, handoff_reason, confidence_bin, sums FROM parley.rollups WHERE tenant = 2",
        "INSERT INTO parley.postings (tenant, facet, hour, chunk, ids) SELECT 5, facet, hour, chunk, ids FROM parley.postings WHERE tenant = 2",
      ] {
        try database.sql(remnant)
      }
      unknown = try await verifier.unknownNumbers()
      #expect(unknown.map(\.number) == [1, 3, 4, 5])
      #expect(unknown.map(\.hasInteractions) == [true, false, false, false])
      for number in unknown where !number.hasInteractions { try await verifier.repair(number) }
      #expect(try await verifier.unknownNumbers().map(\.number) == [1])

      // As the command says.
      try database.sql("UPDATE parley.interactions SET tenant = parley.add_tenant('found again') WHERE tenant = 1")
      for number in try await verifier.unknownNumbers() { try await verifier.repair(number) }
      #expect(try await verifier.unknownNumbers().isEmpty)
      for day in try await days(verifier) where !day.agrees { _ = try await verifier.repair(day) }
      #expect(try await days(verifier).allSatisfy(\.agrees))
      #expect(try await days(verifier, Tenant("found again")!).reduce(0) { $0 + $1.interactions } == 300)
    }
  }
}
