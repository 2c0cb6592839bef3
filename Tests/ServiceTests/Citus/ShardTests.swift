import Core
import TestSupport
import Testing

@testable import Postgres
@testable import Service

/// Which shards statements touch, and what holds on the nodes that these are on.
@Suite(.onlyDistributed, .timeLimit(.minutes(5))) struct ShardTests {
  @Test func sendsEveryReadToOneShard() async throws {
    try await RowSecurityTests.Scene.with { scene async throws in
      let elsewhere = RowSecurityTests.Query(statement: .firstRollup) {
        $0.add($1.rawValue)
        for bound in [0, Int32.max] { $0.add(bound) }
      }
      for query in RowSecurityTests.Query.all(for: scene.shared) + [elsewhere] {
        let explain = Command(Statement("explain", "EXPLAIN (COSTS OFF) \(query.statement.text)")) {
          query.fill(&$0, scene.a.key)
        }
        let plan = try await scene.database.reader().run { (connection) throws(PostgresError) in
          try connection.read([explain], tenant: scene.a, plan: .keyed)[0].map { (row) throws(PostgresError) in
            try row.text(0)
          }
        }.get()
        #expect(
          plan.filter { $0.contains("Task Count: ") } == ["  Task Count: 1"],
          "\(query.statement.name): \(plan.joined(separator: "\n"))")
        #expect(!plan.contains { $0.contains("Distributed Subplan") }, "\(query.statement.name)")
      }
    }
  }

  /// One process of one node answers all that a transaction reads, so that its snapshot is one.
  @Test func readsATenantInOneSnapshot() async throws {
    try await RowSecurityTests.Scene.with { scene async throws in
      let commands = ["deltas", "rollups", "postings", "interactions", "deltas"].map { table in
        Command(
          Statement(
            "process",
            """
            SELECT DISTINCT pg_backend_pid(), current_setting('transaction_isolation')
            FROM parley.\(table) WHERE tenant = $1::int4
            """)
        ) { $0.add(scene.a.key.rawValue) }
      }
      let answers = try await scene.database.reader().run { (connection) throws(PostgresError) in
        var answers: [String] = []
        for rows in try connection.read(commands, tenant: scene.a, plan: .keyed) {
          for row in rows { answers.append("\(try row.int32(0)) \(try row.text(1))") }
        }
        return answers
      }.get()
      #expect(answers.count == commands.count)
      #expect(Set(answers).count == 1 && answers[0].hasSuffix(" repeatable read"), "\(answers)")
    }
  }

  /// How many statements went to one shard, and to several, since the database was made.
  private func counts(_ database: TestDatabase) throws -> (one: Int, several: Int) {
    let row = try database.sql(
      """
      SELECT query_execution_single_shard, query_execution_multi_shard FROM citus_stat_counters
      WHERE name = current_database()
      """)[0]
    return (Int(row[0])!, Int(row[1])!)
  }

  @Test(arguments: [1, 7, 200]) func recordsIntoOneShard(_ count: Int) async throws {
    try await TestDatabase.with { database in
      let owner = database.owner()
      let numbers = TenantNumbers()
      let shared = database.owner()
      let tenant = NumberedTenant(key: try await TenantRegistry(shared, numbers).add(.a), name: .a)
      let writer = BatchWriter(owner, partitions: PartitionManager(shared), numbers: numbers, logger: .silent)
      // The first makes the partition.
      _ = await writer.write([RecordRow(.sample(), tenant: tenant)])
      let rows = (0..<count).map { _ in RecordRow(.sample(), tenant: tenant) }
      let before = try counts(database)
      for isRepeated in [false, true] {
        for outcome in await writer.write(rows) {
          guard case .told(.success(let recorded)) = outcome else {
            Issue.record("\(outcome)")
            continue
          }
          #expect(recorded.alreadyRecorded == isRepeated)
        }
      }
      let after = try counts(database)
      #expect(after.several == before.several)
      #expect(after.one > before.one)
      #expect(try database.rowCount() == count + 1)
      #expect(try database.sql("SELECT count(*) FROM parley.deltas") == [["2"]])
    }
  }

  /// Citus does not pass on why a node refuses a COPY.
  @Test func someTakenKeysAmongVeryManyCostThemselvesAlone() async throws {
    try await TestDatabase.withStore { store, database in
      let given = (0..<3000).map { _ in Interaction.sample() }
      _ = try await store.record(Array(given[..<2000]), for: .a).map { try $0.get() }
      let outcomes = try await store.record(given, for: .a)
      #expect(outcomes == given.enumerated().map { $0 < 2000 ? .already($1) : .new($1) })
      #expect(try database.rowCount() == 3000)
    }
  }

  /// One change record after the other, of one tenant, and a rebuild of its hours.
  @Test func mergesAndRebuildsInOneShard() async throws {
    try await RowSecurityTests.Scene.with { scene async throws in
      let before = try counts(scene.database)
      let merged = try await scene.database.owner().run { (session) throws(PostgresError) in
        let merged = try session.withLease(.rollups) { (session) throws(PostgresError) in
          try session.mergeChanges(of: scene.a.key, outside: StaleHours(), .standard)
        }
        _ = try session.withLease(.rollups) { (session) throws(PostgresError) in
          try session.add(StaleHours(scene.shared.id.hour..<scene.shared.id.hour + 1), of: scene.a.key)
        }
        var piece = RebuildPiece()
        _ = try session.withLease(.rollups) { (session) throws(PostgresError) in
          try session.rebuild(scene.a.key, .standard, &piece)
        }
        return merged
      }.get()
      #expect(merged != nil)
      let after = try counts(scene.database)
      #expect(after.several == before.several)
      #expect(after.one > before.one)
    }
  }

  /// Every shard is asked, without a condition, and each node shows what is the tenant's.
  @Test func bindsReadersByRowSecurityOnEveryNode() async throws {
    try await RowSecurityTests.Scene.with { scene async throws in
      for table in ["interactions", "deltas", "rollups", "postings"] {
        let all = Command(Statement("all", "SELECT tenant FROM parley.\(table)"))
        func seen(by tenant: NumberedTenant) async throws -> Set<Int32> {
          try await scene.database.reader().run { (connection) throws(PostgresError) in
            let fence = ReadFence.tenant(tenant, .fresh)
            let open = ReadFence(fence.command, distributed: fence.distributedStatement) { (_) throws(PostgresError) in
            }
            return try Set(
              connection.read([all], behind: open)[0].map { (row) throws(PostgresError) in try row.int32(0) })
          }.get()
        }
        #expect(try await seen(by: scene.a) == [scene.a.key.rawValue], "\(table)")
        #expect(try await seen(by: scene.b) == [scene.b.key.rawValue], "\(table)")
        #expect(try await seen(by: RowSecurityTests.Scene.nobody) == [], "\(table)")
        // Whoever comes to a node as the readers' role, by whatever way, is bound there.
        for worker in try scene.database.workers() {
          try worker.sql("SET ROLE parley_reader")
          let shards = try worker.sql(
            """
            SET citus.override_table_visibility = off;
            SELECT oid::regclass FROM pg_class
            WHERE relnamespace = 'parley'::regnamespace AND relname ~ '^\(table)_\\d{5,}$'
            """)
          #expect(!shards.isEmpty)
          for shard in shards {
            #expect(try worker.count("SELECT count(*) FROM \(shard[0])") == 0)
            #expect(throws: TestDatabase.Failure.self) { try worker.sql("DELETE FROM \(shard[0])") }
          }
        }
      }
    }
  }

  @Test func findsNumbersThatNoTenantHasOnEveryNode() async throws {
    try await RowSecurityTests.Scene.with { scene async throws in
      for number in 1...5 {
        try scene.database.sql("INSERT INTO parley.deltas (tenant, recount_from, recount_to) VALUES (\(number), 0, 1)")
      }
      let verifier = Verifier(url: scene.database.url, logger: .silent)
      let unknown = try await verifier.unknownNumbers()
      #expect(unknown.map(\.number) == [1, 2, 3, 4, 5])
      #expect(unknown.allSatisfy { !$0.hasInteractions })
      for one in unknown { try await verifier.repair(one) }
      #expect(try await verifier.unknownNumbers().isEmpty)
    }
  }

  @Test func readsWaitOnTheNodesForNoLongerEither() async throws {
    try await TestDatabase.with { database in
      var configuration = database.patient()
      configuration.readLockMax = .milliseconds(100)
      try await database.withStore(configuration) { store in
        _ = try await store.record(.sample()).get()
        #expect(try await store.stats().totals.totalInteractions == 1)
        try await eventually("all is merged") { try database.isMerged() }
        let workers = try database.workers()
        for worker in workers {
          let shards = try worker.sql(
            """
            SET citus.override_table_visibility = off;
            SET citus.enable_manual_changes_to_shards = on;
            SELECT oid::regclass FROM pg_class
            WHERE relnamespace = 'parley'::regnamespace AND relname ~ '_\\d{5,}$' AND relkind = 'r'
            """)
          try worker.sql("BEGIN; LOCK TABLE \(shards.map { $0[0] }.joined(separator: ", ")) IN ACCESS EXCLUSIVE MODE")
        }
        let error = await #expect(throws: RPCError.self) { try await store.stats() }
        #expect(error?.message == RPCError.readLocked(cause: "").message)
        for worker in workers { try worker.sql("COMMIT") }
        #expect(try await store.stats().totals.totalInteractions == 1)
      }
    }
  }

  @Test func answersAreDurableOnTheNodes() async throws {
    try await TestDatabase.with { database in
      for worker in try database.workers() {
        try worker.sql(
          "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$")
      }
      try await database.withStore { store in _ = try await store.record(.sample()).get() }
      let tenant = try database.numbered(.a)
      let setting = try await database.owner().run { (session) throws(PostgresError) in
        try session.script(
          """
          BEGIN;
          \(beginRecordingText([tenant], .seconds(1)));
          SELECT current_setting('synchronous_commit') FROM parley.interactions WHERE tenant = \(tenant.key.rawValue)
          """)
      }.get()
      #expect(setting == [["on"]])
    }
  }
}
