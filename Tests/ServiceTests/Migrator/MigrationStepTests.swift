import Core
import Synchronization
import TestSupport
import Testing

@testable import Service

/// Migrations of a database that is used meanwhile, and those that are broken off.
@Suite(.timeLimit(.minutes(5))) struct MigrationStepTests {
  /// Runs `body` while the migrations are applied, and answers with what was applied once it has returned.
  private func during(
    _ migrations: [Migration], of database: TestDatabase, _ log: LinesOfLog = LinesOfLog(),
    _ body: () async throws -> Void
  ) async throws -> Result<[String], any Error> {
    let migrating = Task { try await database.migrator(log).migrate(migrations).applied }
    do {
      try await body()
    } catch {
      migrating.cancel()
      _ = await migrating.result
      throw error
    }
    return await migrating.result
  }

  @Test func recordingGoesOnWhileAMigrationWaitsForAnIdleTransaction() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let log = LinesOfLog()
      let idle = try database.session()
      try idle.sql("SET application_name = 'an idle psql'; BEGIN; SELECT count(*) FROM parley.interactions")
      let pid = try idle.sql("SELECT pg_backend_pid()")[0][0]
      let migrations = Migration.all(
        and: "column", .transaction("ALTER TABLE parley.interactions ADD COLUMN mood text", locks: ""))
      let applied = try await during(migrations, of: database, log) {
        // Each would wait for ever behind a lock that waits for ever.
        for count in 1...10 {
          try await eventually("the migration has given up \(count) times") {
            log.all.count { $0.contains("is tried again") } >= count
          }
          _ = try await store.record(.sample()).get()
        }
        try await eventually("it is told for whom it waits") {
          log.holds("warning: a migration waits", "column", "process \(pid) (an idle psql), idle in transaction since")
        }
        try idle.sql("COMMIT")
      }
      #expect(try applied.get() == ["column"])
      #expect(try database.rowCount() == 11)
      _ = try await store.record(.sample()).get()
    }
  }

  @Test func onlyTheOwnerCanHoldMigrationsUp() async throws {
    try await TestDatabase.with { database in
      let other = try database.session()
      // As any user of the database may.
      try other.sql("SELECT pg_advisory_lock(hashtextextended('parley.migrate', 0))")
      let migrations = Migration.all(and: "more", .transaction("SELECT", locks: ""))
      #expect(try await database.migrator().migrate(migrations).applied == ["more"])
    }
  }

  // MARK: Backfills

  private static let backfill = """
    SELECT pg_sleep(600) FROM parley.obstacle WHERE current_setting('parley.progress') = '2';
    INSERT INTO parley.filled SELECT coalesce(nullif(current_setting('parley.progress'), ''), '0')::int;
    SELECT max(number) + 1, count(*) >= 4 FROM parley.filled;
    """

  private let filling = Migration.all(
    and: "filling",
    .transaction("CREATE TABLE parley.filled (number int); CREATE TABLE parley.obstacle (a int)", locks: ""),
    .backfill(Self.backfill, locks: ""),
    .transaction("CREATE TABLE parley.afterwards ()", locks: ""))

  @Test func backfillIsDonePieceByPiece() async throws {
    try await TestDatabase.with { database in
      let log = LinesOfLog()
      let outcome = try await database.migrator(log).migrate(filling)
      #expect(outcome.applied == ["filling"])
      #expect(try database.sql("SELECT number FROM parley.filled ORDER BY 1") == [["0"], ["1"], ["2"], ["3"]])
      #expect(try database.sql("SELECT to_regclass('parley.afterwards')") == [["parley.afterwards"]])
      #expect(try database.sql("SELECT count(*) FROM parley.migration_steps") == [["0"]])
      let begun = log.all.filter { $0.hasPrefix("applying") }.map { $0.suffix(11) }
      #expect(begun == ["step 1 of 3", "step 2 of 3", "step 3 of 3"])
    }
  }

  @Test func killedBackfillGoesOnWhereItWas() async throws {
    try await TestDatabase.with { database in
      let session = try database.session()
      _ = try await database.migrator().migrate(Array(filling.dropLast()))
      let sleeping = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
      let prepared = Migration.all(and: "filling", filling.last!.steps[0], .transaction("SELECT 1 / 0", locks: ""))
      // As far as its first step.
      await #expect(throws: Migrator.Failure.self) { try await database.migrator().migrate(prepared) }
      try session.sql("INSERT INTO parley.obstacle VALUES (1)")
      let killed = try await during(filling, of: database) {
        try await eventually("the third piece is under way") { try session.sql(sleeping).count == 1 }
        try session.sql("SELECT pg_terminate_backend(pid) FROM (\(sleeping)) AS sleeping")
      }
      #expect(throws: Migrator.Failure.self) { try killed.get() }
      #expect(try database.sql("SELECT number FROM parley.filled ORDER BY 1") == [["0"], ["1"]])
      try session.sql("DELETE FROM parley.obstacle")
      #expect(try await database.migrator().migrate(filling).applied == ["filling"])
      #expect(try database.sql("SELECT number FROM parley.filled ORDER BY 1") == [["0"], ["1"], ["2"], ["3"]])
    }
  }

  // MARK: Indexes

  private let indexing = Migration.all(
    and: "indexing", .transaction("CREATE TABLE parley.marks (mark int)", locks: ""),
    .index(name: "marks_mark", table: "parley.marks", definition: "(mark)"))

  private func index(of database: TestDatabase) throws -> [[String]] {
    try database.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('parley.marks_mark')")
  }

  /// Runs `body` while the index cannot be finished, for an older transaction has written to the table.
  private func whileIndexing(
    of database: TestDatabase, _ log: LinesOfLog, _ body: (DatabaseSession) async throws -> Void
  ) async throws -> Result<[String], any Error> {
    let (older, looking) = (try database.session(), try database.session())
    _ = try await database.migrator().migrate(Array(indexing.dropLast()))
    let first = Migration.all(and: "indexing", indexing.last!.steps[0], .transaction("SELECT 1 / 0", locks: ""))
    await #expect(throws: Migrator.Failure.self) { try await database.migrator().migrate(first) }
    try older.sql("SET application_name = 'an older one'; BEGIN; INSERT INTO parley.marks VALUES (1)")
    return try await during(indexing, of: database, log) {
      try await eventually("the index is being made") { try index(of: database) == [["f"]] }
      // Others read and write the table.
      try looking.sql("INSERT INTO parley.marks SELECT mark + 1 FROM parley.marks")
      try looking.sql("INSERT INTO parley.marks VALUES (2)")
      try await body(looking)
      try older.sql("COMMIT")
    }
  }

  @Test func indexIsMadeWhileOthersWrite() async throws {
    try await TestDatabase.with { database in
      let (log, others) = (LinesOfLog(), LinesOfLog())
      let waiting = Mutex<Task<[String], any Error>?>(nil)
      let applied = try await whileIndexing(of: database, log) { _ in
        try await eventually("it is told for whom it waits") {
          log.holds("a migration waits for a lock", "(an older one)")
        }
        waiting.withLock { task in
          task = Task { [indexing] in try await database.migrator(others).migrate(indexing).applied }
        }
        try await eventually("another migrator waits for this one") {
          others.holds("for=the migrator parley ", "whose lease")
        }
      }
      #expect(try applied.get() == ["indexing"])
      #expect(try await waiting.withLock { $0 }?.value == [])
      #expect(try index(of: database) == [["t"]])
      #expect(try database.sql("SELECT holder FROM parley.leases WHERE name = 'migrations'") == [[""]])
    }
  }

  @Test func indexThatWasBrokenOffIsMadeAnew() async throws {
    try await TestDatabase.with { database in
      let killed = try await whileIndexing(of: database, LinesOfLog()) { session in
        try session.sql(
          """
          SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
          WHERE datname = current_database() AND query LIKE '%CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()
          """)
      }
      #expect(throws: Migrator.Failure.self) { try killed.get() }
      #expect(try index(of: database) == [["f"]])
      #expect(try await database.migrator().migrate(indexing).applied == ["indexing"])
      #expect(try index(of: database) == [["t"]])
    }
  }
}
