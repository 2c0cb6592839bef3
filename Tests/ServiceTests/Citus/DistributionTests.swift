import Core
import TestSupport
import Testing

@testable import Postgres
@testable import Service

/// How a database comes to be distributed over the nodes of Citus, and stays so.
@Suite(.timeLimit(.minutes(5))) struct DistributionTests {
  @Test func needsTheExtension() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let error = await #expect(throws: Migrator.Failure.self) {
        try await Migrator(url: database.url, logger: .silent).migrate(distributing: true)
      }
      #expect(error?.description.contains("has no extension citus: run CREATE EXTENSION citus") == true)
      #expect(try database.sql("SELECT to_regnamespace('parley')") == [[""]], "nothing was changed")
      let plan = try await Migrator(url: database.url, logger: .silent).plan(distributing: true)
      #expect(plan.last?.hasPrefix("  not distribute: the database ") == true)
    }
  }

  @Test(.onlyDistributed) func needsNodesAndTheirCoordinator() async throws {
    try await TestDatabase.withEmptyNodes { database in
      try database.sql("SELECT citus_remove_node(nodename, nodeport) FROM pg_dist_node WHERE groupid > 0")
      let error = await #expect(throws: Migrator.Failure.self) {
        try await Migrator(url: database.url, logger: .silent).migrate(distributing: true)
      }
      #expect(error?.description.contains("no nodes that may hold the tables") == true)
    }
  }

  /// What was recorded before is in the shards afterwards, with its statistics, and in them alone.
  @Test(.onlyDistributed) func takesWhatIsThereAlong() async throws {
    try await TestDatabase.withEmptyNodes { database in
      let migrator = { Migrator(url: database.url, logger: .silent) }
      #expect(try await migrator().migrate().isDistributedNow == false)
      let given = [Interaction.sample(), .sample(), .sample()]
      let before = try await database.withStore { store async throws in
        _ = try await store.record(given, for: .a).map { try $0.get() }
        return try await store.stats()
      }
      #expect(try await migrator().plan(distributing: true).last == Distribution.summary)
      #expect(try await migrator().migrate(distributing: true).isDistributedNow)
      #expect(try database.sql("SELECT DISTINCT citus_table_type FROM citus_tables") == [["distributed"]])
      #expect(
        try database.sql("SELECT count(DISTINCT colocation_id) FROM citus_tables") == [["1"]],
        "a tenant's rows are on one node")
      // Once, and with it nothing again.
      #expect(try await migrator().migrate(distributing: true).isDistributedNow == false)
      #expect(try await migrator().migrate().isDistributedNow == false)

      try await database.withStore { store async throws in
        let more = Interaction.sample()
        #expect(try await store.record(more) == .new(more))
        #expect(try await store.record(given[0]) == .already(given[0]))
        #expect(try await store.pages().flatMap { $0 }.count == 4)
        #expect(try await store.stats().totals.totalInteractions == before.totals.totalInteractions + 1)
      }
      let local = try database.sql(
        """
        SET citus.enable_ddl_propagation = off;
        SELECT pg_relation_size('parley.deltas') + pg_relation_size('parley.rollups') + pg_relation_size('parley.postings')
        """)
      #expect(local == [["0"]], "the coordinator keeps no copy")
    }
  }

  @Test(.onlyDistributed) func staysThroughMigrations() async throws {
    try await TestDatabase.with { database in
      let newer = Migration.all(
        and: "newer",
        .transaction(
          """
          ALTER TABLE parley.interactions ADD COLUMN mood text COLLATE "C" NOT NULL DEFAULT '';
          CREATE TABLE parley.moods (tenant int, mood text);
          """, locks: ""),
        .index(name: "rollups_start", table: "parley.rollups", definition: "(tenant, start)"),
        .backfill("UPDATE parley.rollups SET start = start WHERE tenant = 1; SELECT '', true", locks: ""))
      try await database.withStore { store async throws in
        let first = Interaction.sample()
        #expect(try await store.record(first) == .new(first))
        let outcome = try await database.migrator().migrate(newer)
        #expect(outcome.applied == ["newer"])
        #expect(outcome.isDistributedNow, "what distributes is done after every migration")
        // The same server goes on.
        let second = Interaction.sample()
        #expect(try await store.record(second) == .new(second))
        #expect(try await store.pages().flatMap { $0 }.map(\.id) == [second.id, first.id])
      }
      for worker in try database.workers() {
        try worker.sql("SET citus.override_table_visibility = off")
        #expect(
          try worker.count("SELECT count(*) FROM pg_class WHERE relname ~ '^rollups_start_\\d+$' AND relkind = 'i'") > 0
        )
      }
      #expect(try await database.migrator().migrate(newer).isDistributedNow == false)
    }
  }
}
