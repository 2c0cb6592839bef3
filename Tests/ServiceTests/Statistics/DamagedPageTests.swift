import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// Pages of tables that PostgreSQL cannot read. What fails is what lies on them, and nothing beside it.
///
/// A trigger and policies raise here what PostgreSQL does (XX001, data_corrupted).
@Suite(.notDistributed(.coordinatorTables), .timeLimit(.minutes(5))) struct DamagedPageTests {
  private static let damage = """
    CREATE FUNCTION parley.damaged(is_damaged boolean) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
      IF is_damaged THEN RAISE data_corrupted USING MESSAGE = 'invalid page'; END IF;
      RETURN true;
    END $$;
    """

  private func batch(_ count: Int) -> [Interaction] {
    (0..<count).map { place in .sample { $0.conversationID = place == count / 3 ? "damaged" : "whole" } }
  }

  private func isDamaged(_ interaction: Interaction) -> Bool { interaction.content.conversationID == "damaged" }

  @Test func recordsOfOthersInTheirCommitAreKept() async throws {
    let batch = batch(30)
    try await TestDatabase.with { database in
      try await database.withStore(database.patient(.init(writers: 1, readers: 1))) { store in
        try database.sql(
          Self.damage + """
            CREATE FUNCTION parley.damage_inserts() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
              PERFORM parley.damaged(NEW.conversation_id = 'damaged');
              RETURN NEW;
            END $$;
            CREATE TRIGGER damaged BEFORE INSERT ON parley.interactions
              FOR EACH ROW EXECUTE FUNCTION parley.damage_inserts();
            """)
        _ = try await store.record(.sample())
        let session = try database.session()
        try session.lockInteractions(against: .everybody)
        let first = Calls(1) { _ throws(RPCError) in try await store.record(.sample()) }
        try await eventually("the first waits in the database") { try session.waitsForLock(.owner) }
        let calls = Calls(batch.count) { call throws(RPCError) in try await store.record(batch[call]) }
        try await eventually("the others wait for the first") { store.recorder.waitingCount == batch.count }
        try session.unlock()
        for (interaction, answer) in zip(batch, await calls.all()) {
          if isDamaged(interaction) {
            #expect(throws: RPCError.self) { try answer.get() }
          } else {
            #expect(try answer.get() == .new(interaction))
          }
        }
        _ = await first.all()
        #expect(try database.rowCount() == batch.count + 1)
      }
    }
  }

  @Test func getsFailAlone() async throws {
    let batch = batch(12)
    try await TestDatabase.with { database in
      try await database.withStore(database.patient(.oneReader)) { store in
        _ = try await store.record(batch, for: .a).map { try $0.get() }
        try database.sql(
          Self.damage + """
            CREATE POLICY damaged ON parley.interactions AS RESTRICTIVE TO parley_reader
              USING (parley.damaged(conversation_id = 'damaged'));
            """)
        _ = try? await store.interaction(batch[0].id, of: .a)
        let session = try database.session()
        try session.lockInteractions(against: .everybody)
        let first = Calls(1) { _ throws(RPCError) in try await store.interaction(batch[0].id, of: .a) }
        try await eventually("the first waits in the database") { try session.waitsForLock(.reader) }
        let calls = Calls(batch.count) { call throws(RPCError) in
          try await store.interaction(batch[call].id, of: .a)
        }
        try await eventually("the others wait for the first") { store.lookup.waitingCount == batch.count }
        try session.unlock()
        for (interaction, answer) in zip(batch, await calls.all()) {
          if isDamaged(interaction) {
            #expect(throws: RPCError.self) { try answer.get() }
          } else {
            #expect(try answer.get()?.id == interaction.id)
          }
        }
        _ = await first.all()
      }
    }
  }

  @Test(arguments: ["rollups", "postings"]) func rowsAnswerWhereWhatIsKeptOfThemCannotBeRead(table: String) async throws
  {
    let batch = batch(30)
    try await TestDatabase.withRollupStore { store, database in
      _ = try await store.record(batch, for: .a).map { try $0.get() }
      try await eventually("all is merged") { try database.isMerged() }
      try database.sql(
        Self.damage + """
          CREATE POLICY damaged ON parley.\(table) AS RESTRICTIVE TO parley_reader USING (parley.damaged(true));
          """)
      var filter = InteractionFilter()
      filter.modelUsed = batch[0].content.modelUsed
      #expect(try await store.stats(filter).totals.totalInteractions == 30)
      #expect(try await store.pages(filter).joined().count == 30)
    }
  }

  @Test func listReadsRowsWhereAnHourHasMorePostingsThanItReads() async throws {
    let count = Limits.postingsReadMax
    try await TestDatabase.withRollupStore { store, database in
      let given = (0..<5).map { _ in Interaction.sample { $0.modelUsed = "common" } }
      _ = try await store.record(given, for: .a).map { try $0.get() }
      try await eventually("all is merged") { try database.isMerged() }
      // So many chunks of one posting each, of the right time. None names what was recorded, so that to read them all would
      // show nothing.
      try database.sql(
        """
        UPDATE parley.postings SET ids = substr(ids, 1, 6) || decode(repeat('00', 10), 'hex');
        INSERT INTO parley.postings (tenant, facet, hour, chunk, ids)
          SELECT tenant, facet, hour, number, ids FROM parley.postings, generate_series(1, \(count)) AS number;
        """)
      var filter = InteractionFilter()
      filter.modelUsed = "common"
      #expect(try await store.pages(filter).joined().map(\.id) == given.map(\.id).sorted(by: >))
    }
  }

  @Test(arguments: ["rollups", "postings"])
  func verifyTellsOfThemAndGoesOn(_ table: String) async throws {
    let days = (0..<3).map { Timestamp("2024-05-01T00:00:00.000Z") + Int64($0) * 86_400_000 }
    try await TestDatabase.with { database in
      try await database.withStore { store in
        _ = try await store.record(days.map { .sample(at: $0) }, for: .a).map { try $0.get() }
      }
      let hour = days[1].milliseconds / 3_600_000
      let condition = table == "rollups" ? "start" : "hour"
      try database.sql(
        Self.damage + """
          CREATE POLICY damaged ON parley.\(table) AS RESTRICTIVE TO parley_reader
            USING (parley.damaged(\(condition) = \(hour)));
          CREATE FUNCTION parley.damage_deletes() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN
            PERFORM parley.damaged(OLD.\(condition) = \(hour));
            RETURN OLD;
          END $$;
          CREATE TRIGGER damaged BEFORE DELETE ON parley.\(table)
            FOR EACH ROW EXECUTE FUNCTION parley.damage_deletes();
          """)
      let verifier = Verifier(url: database.url, logger: .silent)
      var seen: [Verifier.Day] = []
      try await verifier.verify(nil, from: nil, to: nil) { seen.append($0) }
      #expect(seen.map(\.start) == days && seen.map(\.agrees) == [true, false, true])
      #expect(seen[1].differences.map(\.what).joined().contains("invalid page"))
      let repaired = try await verifier.repair(seen[1])
      #expect(!repaired.agrees && repaired.differences.map(\.what).joined().contains("invalid page"))

      try database.sql(
        "DROP TRIGGER damaged ON parley.\(table); DROP POLICY damaged ON parley.\(table)")
      #expect(try await verifier.repair(seen[1]).agrees)
    }
  }

  /// Of sixty stale hours of each tenant, PostgreSQL cannot read what is kept of two.
  @Test(arguments: ["rollups", "postings"])
  func rebuildLeavesOutTheHoursItMeetsThemIn(_ table: String) async throws {
    let first = Timestamp("2024-05-01T05:00:00.000Z")
    let stale = InteractionID(lowerBound: first).hour..<InteractionID(lowerBound: first).hour + 60
    let damaged = [stale.lowerBound + 3, stale.lowerBound + 31]
    let hour = table == "rollups" ? "start" : "hour"
    try await TestDatabase.with { database in
      try await database.withStore { store in
        for tenant in [Tenant.a, .b] {
          let given = (0..<120).map { Interaction.sample(at: first + Int64($0) * 1_800_000) }
          _ = try await store.record(given, for: tenant).map { try $0.get() }
        }
      }
      let keys = try [Tenant.a, .b].map { try database.key(of: $0) }
      try database.sql(
        Self.damage + """
          CREATE FUNCTION parley.damage_deletes() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN
            PERFORM parley.damaged(OLD.\(hour) IN (\(damaged[0]), \(damaged[1])));
            RETURN OLD;
          END $$;
          CREATE TRIGGER damaged BEFORE DELETE ON parley.\(table)
            FOR EACH ROW WHEN (OLD.tenant = \(keys[0].rawValue)) EXECUTE FUNCTION parley.damage_deletes();
          INSERT INTO parley.deltas (tenant, recount_from, recount_to)
            SELECT unnest(ARRAY[\(keys[0].rawValue), \(keys[1].rawValue)]), \(stale.lowerBound), \(stale.upperBound);
          SET session_replication_role = replica;
          UPDATE parley.interactions SET estimated_cost_nanos = 7;
          """)
      let (owner, clock) = (database.owner(), ManualClock())
      let putOff = PutOffTenants(clock: JobClock(clock), logger: .silent)
      let job = RebuildJob(putOff, clock: JobClock(clock), logger: .silent)
      func rebuild() async throws -> [StaleHours] {
        try await owner.run { (session) throws(PostgresError) in
          var runs = 0
          while case .atOnce = try job.runOnce(on: session), runs < 200 { runs += 1 }
          return try keys.map { (key) throws(PostgresError) in try session.staleHours(of: key) }
        }.get()
      }
      #expect(
        try await rebuild() == [StaleHours(damaged[0]..<damaged[0] + 1, damaged[1]..<damaged[1] + 1), StaleHours()])
      #expect(putOff.tenants == [], "a tenant's other work goes on")
      // When they are due again they fail again.
      clock.advance(by: .seconds(60))
      #expect(try await rebuild()[0].count == 2)
      try database.sql("DROP TRIGGER damaged ON parley.\(table)")
      clock.advance(by: .seconds(60))
      #expect(try await rebuild() == [StaleHours(), StaleHours()])
      #expect(try await database.differences() == [])
    }
  }

  @Test func listShowsNothingTwiceWhateverPostingsName() async throws {
    var random = SeededGenerator()
    let given = (0..<40).map { _ in random.interaction(at: random.time()) }
    try await TestDatabase.withRollupStore { store, database in
      _ = try await store.record(given, for: .a).map { try $0.get() }
      try await eventually("all is merged") { try database.isMerged() }
      try database.sql(
        """
        UPDATE parley.postings SET ids = ids || ids;
        INSERT INTO parley.postings (tenant, facet, hour, chunk, ids)
          SELECT tenant, facet, hour + 1, 100, ids FROM parley.postings;
        """)
      for model in Set(given.map(\.content.modelUsed)) {
        var filter = InteractionFilter()
        filter.modelUsed = model
        let selected = given.filter { $0.content.modelUsed.utf8.elementsEqual(model.utf8) }.map(\.id)
        for size in [1, 2, 200] as [Int32] {
          let listed = try await store.pages(filter, size: size).joined().map(\.id)
          #expect(listed == selected.sorted(by: >), "seed \(random.seed)")
        }
      }
    }
  }

  @Test func sessionKeepsAnswersDurableWhateverTheServersDefaultBecomes() async throws {
    try await TestDatabase.with { database in
      let connection = database.owner()
      // What a session has set itself, a reload of the configuration does not change.
      let source = try await connection.run { (connection) throws(PostgresError) in
        try connection.script("SELECT source FROM pg_settings WHERE name = 'synchronous_commit'")
      }.get()
      #expect(source == [["session"]])
    }
  }
}
