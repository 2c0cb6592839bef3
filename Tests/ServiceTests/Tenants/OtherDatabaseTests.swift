import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// The database under a running server becomes another: restored to an earlier moment, or a standby that lagged.
/// The registry then knows less than the server has learned from it.
@Suite(.timeLimit(.minutes(5))) struct OtherDatabaseTests {
  /// What a restore to a moment before the first tenant does to the registry and its sequence, with rows left behind
  /// that nobody owns.
  private func forgetTenants(_ database: TestDatabase) throws {
    try database.sql("DELETE FROM parley.tenants; ALTER TABLE parley.tenants ALTER key RESTART WITH 1")
    try database.session().terminateParley()
  }

  /// What each kind of read shows to a tenant.
  private func seen(_ id: InteractionID, of tenant: Tenant, _ store: PostgresStore) async throws -> [Int] {
    var rare = InteractionFilter()
    rare.modelUsed = "gpt-4o"
    return [
      try await store.interaction(id, of: tenant) == nil ? 0 : 1,
      try await store.pages(of: tenant).flatMap { $0 }.count,
      try await store.pages(rare, of: tenant).flatMap { $0 }.count,
      Int(try await store.stats(of: tenant).totals.totalInteractions),
    ]
  }

  @Test(arguments: [1, 10, 40]) func showsNobodyTheRowsOfAnotherTenant(batchSize: Int) async throws {
    let batches = (0..<3).map { _ in (0..<batchSize).map { _ in Interaction.sample() } }
    try await TestDatabase.withStore { store, database in
      // As an earlier version would have numbered it.
      try database.sql("INSERT INTO parley.tenants (name) VALUES ('\(Tenant.a)')")
      _ = try await store.record(batches[0], for: .a).map { try $0.get() }
      #expect(try await seen(batches[0][0].id, of: .a, store) == [1, batchSize, batchSize, batchSize])
      try forgetTenants(database)

      #expect(try await store.record(batches[1], for: .a) == batches[1].map(Outcome.new))
      #expect(try await store.record(batches[2], for: .b) == batches[2].map(Outcome.new))
      for (tenant, place) in [(Tenant.a, 1), (.b, 2)] {
        for (other, batch) in batches.enumerated() {
          let found = other == place ? 1 : 0
          #expect(try await seen(batch[0].id, of: tenant, store) == [found, batchSize, batchSize, batchSize])
        }
      }
      let counts = try database.sql("SELECT tenant, count(*) FROM parley.interactions GROUP BY 1 ORDER BY 1")
      #expect(counts.map { $0[1] } == Array(repeating: "\(batchSize)", count: 3))
      #expect(counts[0][0] == "1", "the rows of before stay where they were")
    }
  }

  /// The tenants' numbers change places, and those of their rows with them.
  private static let swap = """
    WITH gone AS (DELETE FROM parley.tenants RETURNING key)
    SELECT set_config('test.keys', min(key) || ' ' || max(key), true) FROM gone;
    INSERT INTO parley.tenants (key, name) OVERRIDING SYSTEM VALUE
    VALUES (split_part(current_setting('test.keys'), ' ', 2)::int, '\(Tenant.a)'),
      (split_part(current_setting('test.keys'), ' ', 1)::int, '\(Tenant.b)');
    UPDATE parley.interactions SET tenant =
      split_part(current_setting('test.keys'), ' ', 1)::int + split_part(current_setting('test.keys'), ' ', 2)::int - tenant
    """

  @Test(.notDistributed(.changedTenants)) func recordsUnderTheNumberThatATransactionUnderWayGives() async throws {
    let (first, second) = (Interaction.sample(), Interaction.sample())
    try await TestDatabase.withStore { store, database in
      try database.registerTenants()
      try await database.warmUp(store)
      _ = try await store.record(first, for: .a).get()
      let session = try database.session()
      try session.sql("BEGIN; \(Self.swap)")
      async let recorded = store.record(second, for: .a)
      try await eventually("the record waits for the numbers") { try session.waitsForLock(.owner) }
      try session.sql("COMMIT")
      #expect(try await recorded == .new(second))
      #expect(try await store.interaction(second.id, of: .a) != nil)
      #expect(try await store.interaction(second.id, of: .b) == nil)
    }
  }

  @Test(.notDistributed(.changedTenants)) func readsOneTenantWhileNumbersChangePlaces() async throws {
    let (ofA, ofB) = (Interaction.sample(), Interaction.sample())
    try await TestDatabase.withStore { store, database in
      try database.registerTenants()
      _ = try await store.record(ofA, for: .a).get()
      _ = try await store.record(ofB, for: .b).get()
      // With their statements prepared, reads wait for the table after they have read the number.
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<32 {
          group.addTask {
            _ = try await store.pages(of: .a)
            _ = try await store.interaction(ofB.id, of: .a)
          }
        }
        try await group.waitForAll()
      }
      let session = try database.session()
      try session.lockInteractions(against: .everybody)
      async let listed = store.pages(of: .a)
      async let got = store.interaction(ofB.id, of: .a)
      try await eventually("both reads wait for the table") {
        try session.backends(.reader, "wait_event_type = 'Lock'").count == 2
      }
      try session.sql(Self.swap)
      try session.unlock()
      #expect(try await listed.flatMap { $0 }.map(\.id) == [ofA.id])
      #expect(try await got == nil)
    }
  }

  @Test func readsNothingUnderANumberThatTheRegistryHasLost() async throws {
    let interaction = Interaction.sample()
    try await TestDatabase.withStore { store, database in
      _ = try await store.record(interaction)
      #expect(try await seen(interaction.id, of: .a, store) == [1, 1, 1, 1])
      // With connections as they are: a registry is trusted no longer than a transaction.
      let row = try database.sql("DELETE FROM parley.tenants RETURNING key, name")[0]
      #expect(try await seen(interaction.id, of: .a, store) == [0, 0, 0, 0])
      try database.sql("INSERT INTO parley.tenants (key, name) OVERRIDING SYSTEM VALUE VALUES (\(row[0]), '\(row[1])')")
      #expect(try await seen(interaction.id, of: .a, store) == [1, 1, 1, 1])
    }
  }

  @Test func followsANumberThatWasGivenToAnother() async throws {
    let (ofA, ofB) = (Interaction.sample(), Interaction.sample())
    try await TestDatabase.withStore { store, database in
      try database.registerTenants()
      _ = try await store.record(ofA, for: .a).get()
      _ = try await store.record(ofB, for: .b).get()
      #expect(try await seen(ofA.id, of: .a, store) == [1, 1, 1, 1])
      // The other way around, rows and all.
      try database.sql(
        """
        UPDATE parley.tenants SET name = 'other' WHERE key = 1;
        UPDATE parley.tenants SET name = '\(Tenant.a)' WHERE key = 2;
        UPDATE parley.tenants SET name = '\(Tenant.b)' WHERE key = 1;
        """)
      for (tenant, id) in [(Tenant.a, ofB.id), (.b, ofA.id)] {
        #expect(try await seen(id, of: tenant, store) == [1, 1, 1, 1])
      }
      #expect(try await store.interaction(ofA.id, of: .a) == nil)
      // And so does writing: the same id is free for the one, taken for the other.
      #expect(try await store.record(ofA, for: .a) == .new(ofA))
      #expect(try await store.record(ofA, for: .b) == .already(ofA))
    }
  }

  /// Rows of two tenants under one number in one batch, with the same ids.
  @Test func tellsTenantsApartThatWereToldOneNumber() async throws {
    let interactions = (0..<30).map { _ in Interaction.sample() }
    try await TestDatabase.with { database in
      try await database.withStore { try await database.warmUp($0) }
      let (owner, numbers) = (database.owner(), TenantNumbers())
      let writer = BatchWriter(owner, partitions: PartitionManager(owner), numbers: numbers, logger: .silent)
      let key = try database.key(of: .a)
      let rows = [Tenant.a, .b].flatMap { name in
        interactions.map { RecordRow($0, tenant: NumberedTenant(key: key, name: name)) }
      }
      let outcomes = await writer.write(rows)
      #expect(
        outcomes.allSatisfy { if case .told(.success(let recorded)) = $0 { !recorded.alreadyRecorded } else { false } })
      #expect(try database.rowCount("tenant = \(key.rawValue)") == 1 + interactions.count)
      #expect(try database.rowCount("tenant = \(database.key(of: .b).rawValue)") == interactions.count)
      #expect(numbers.hint(for: .b) == (try database.key(of: .b)))
    }
  }

  @Test func takesNamesForWhatTheyAreInCopy() async throws {
    let interactions = (0..<30).map { _ in Interaction.sample() }
    try await TestDatabase.withStore { store, database in
      for name in ["o'brien", "back\\slash", "'; DROP TABLE parley.deltas; --", "$2::int4[]", "ünï ✈️", "E'\\''"] {
        for _ in 0..<2 {
          let outcomes = try await store.record(interactions, for: Tenant(name)!)
          #expect(outcomes.allSatisfy { (try? $0.get()) != nil }, "\(name)")
        }
        #expect(try await store.pages(of: Tenant(name)!).flatMap { $0 }.count == interactions.count, "\(name)")
      }
    }
  }
}

@Suite(.timeLimit(.minutes(5))) struct TenantRegistryTests {
  @Test func givesNumbersThatTheSequenceDoesNotReachAndNoRowHas() async throws {
    try await TestDatabase.with { database in
      let session = try database.session()
      func add(_ name: String) throws -> Int {
        try session.sql("SELECT setseed(0.5)")
        return try session.count("SELECT parley.add_tenant('\(name)')")
      }
      var given: Set<Int> = []
      for trace in [
        "INSERT INTO parley.deltas (tenant, recount_from, recount_to) VALUES ($, 1, 2)",
        "INSERT INTO parley.rollups VALUES ($, 0, 0, '', '', false, '', 0, '')",
        "INSERT INTO parley.postings (tenant, facet, hour, chunk, ids) VALUES ($, 0, 0, 0, '')",
        "INSERT INTO parley.interactions VALUES (0, 0, now(), NULL, $, 0, 0, 0, 0, false, '00000000-0000-0000-0000-000000000000', '', '', '', '', '{}', '{}', '', '')",
        "SELECT $",
      ] {
        let number = try add("tenant")
        #expect(1 << 30..<1 << 31 ~= number)
        #expect(given.insert(number).inserted, "the same chance, but the number has rows")
        #expect(try add("tenant") == number)
        try session.sql("DELETE FROM parley.tenants")
        try session.sql(trace.replacing("$", with: "\(number)"))
      }
    }
  }

  /// What a number may have is looked for in every month that is not locked.
  @Test(.notDistributed(.partitionsOfRows)) func addsATenantWhileAMonthIsLocked() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let (session, other) = (try database.session(), try database.session())
      try session.sql("BEGIN; LOCK TABLE parley.interactions_early IN ACCESS EXCLUSIVE MODE")
      let interaction = Interaction.sample()
      #expect(try await store.record(interaction, for: .b) == .new(interaction))
      // Of the numbers that chance draws first, the second has rows in a month that is not locked.
      try other.sql("SET parley.inserts_are_counted = 'yes'; SELECT setseed(0.5)")
      let drawn = try (0..<3).map { _ in
        try other.count("SELECT 1073741824 + floor(random() * 1073741824)::int")
      }
      try other.sql(
        """
        INSERT INTO parley.interactions
        VALUES (0, 0, now(), NULL, \(drawn[1]), 0, 0, 0, 0, false, '\(InteractionID(at: .now))', '', '', '', '', '{}', '{}', '', '');
        SELECT setseed(0.5);
        """)
      #expect(try ["one", "two"].map { try other.count("SELECT parley.add_tenant('\($0)')") } == [drawn[0], drawn[2]])
      // And the setting is the function's own.
      #expect(
        try other.sql("SET lock_timeout = '7s'; SELECT parley.add_tenant('three'); SHOW lock_timeout") == [["7s"]])
      try session.unlock()
    }
  }

  @Test func givesEachNameOneNumberToAllWhoAskAtOnce() async throws {
    let tenants = (0..<20).map { Tenant("tenant-\($0)")! }
    try await TestDatabase.withStore { one, database in
      try await database.withStore { other in
        let calls = Calls(200) { call throws(RPCError) in
          try await (call % 2 == 0 ? one : other).record(.sample(), for: tenants[call / 2 % 20]).get()
        }
        for answer in await calls.all() { _ = try answer.get() }
        for tenant in tenants { #expect(try await one.pages(of: tenant).flatMap { $0 }.count == 10) }
        #expect(try database.sql("SELECT count(*), count(DISTINCT key) FROM parley.tenants") == [["20", "20"]])
      }
    }
  }

  @Test func staysOpenToEarlierVersions() async throws {
    try await TestDatabase.withStore { store, database in
      _ = try await store.record(.sample(), for: .a).get()
      // Their statement.
      try database.sql("INSERT INTO parley.tenants (name) VALUES ('\(Tenant.b)') ON CONFLICT (name) DO NOTHING")
      #expect(try database.key(of: .b).rawValue == 1)
      let interaction = Interaction.sample()
      #expect(try await store.record(interaction, for: .b) == .new(interaction))
      #expect(try await store.interaction(interaction.id, of: .b)?.id == interaction.id)
    }
  }

  /// A tenant that never recorded is looked up by the read itself: not even a registry whose own connection hangs
  /// keeps it.
  @Test func isNotAskedByReads() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let session = try database.session()
      // The connection that adds tenants waits here.
      try session.sql("BEGIN; LOCK TABLE parley.tenants IN EXCLUSIVE MODE")
      let adding = Calls(1) { _ throws(RPCError) in try await store.record(.sample(), for: .b) }
      try await eventually("it waits to be added") { try session.waitsForLock(.owner) }
      let nobody = Tenant("nobody")!
      #expect(try await store.interaction(Interaction.sample().id, of: nobody) == nil)
      #expect(try await store.pages(of: nobody) == [[]])
      #expect(try await store.stats(of: nobody).totals.totalInteractions == 0)
      try session.unlock()
      _ = try await adding.all()[0].get().get()
    }
  }
}
