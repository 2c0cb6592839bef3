import Core
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct MigratorTests {
  private let names = Migration.all.map(\.name)
  private let newest = Migration.all.last!.version

  @Test func bringsAnEmptyDatabaseUpAndThenHasNothingToDo() async throws {
    try await TestDatabase.with(migrated: false) { database in
      #expect(try await database.migrator().migrate().applied == names)
      #expect(try database.sql("SELECT name FROM parley.migrations ORDER BY version").map { $0[0] } == names)
      #expect(try await database.migrator().migrate().applied == [])
      _ = try await database.withStore { store in try await store.record(.sample()).get() }
      #expect(try await database.migrator().migrate().applied == [])
      #expect(try database.rowCount() == 1)
    }
  }

  @Test func migratesOnceWhenManyAreAtIt() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let applied = try await withThrowingTaskGroup(of: [String].self) { group in
        for _ in 0..<6 { group.addTask { try await database.migrator().migrate().applied } }
        return try await group.reduce(into: []) { $0 += $1 }
      }
      #expect(applied.sorted() == names.sorted())
      let locks = """
        SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """
      #expect(try database.sql(locks) == [["0"]])
    }
  }

  /// As where another database grants the same role at the same time.
  @Test(arguments: [3, 4]) func triesAStepAgainThatMeetsAnInternalError(errors: Int) async throws {
    try await TestDatabase.with { database in
      // What a sequence has given stays given after an error.
      try database.sql("CREATE SEQUENCE public.tries")
      let newer = Migration.all(
        and: "newer",
        .transaction(
          """
          DO $$ BEGIN
            IF nextval('public.tries') <= \(errors) THEN
              RAISE EXCEPTION 'tuple concurrently updated' USING ERRCODE = 'XX000';
            END IF;
          END $$;
          """, locks: ""))
      if errors <= 3 {
        #expect(try await database.migrator().migrate(newer).applied == ["newer"])
      } else {
        let error = await #expect(throws: Migrator.Failure.self) { try await database.migrator().migrate(newer) }
        #expect(error?.description.contains("tuple concurrently updated") == true)
      }
      #expect(try database.sql("SELECT last_value FROM public.tries") == [["4"]])
    }
  }

  @Test func refusesAMigrationThatChangedSinceItWasApplied() async throws {
    try await TestDatabase.with { database in
      let changed = [Migration.all[0].replacing("parley", with: "parley ")] + Migration.all.dropFirst()
      let error = await #expect(throws: Migrator.Failure.self) { try await database.migrator().migrate(changed) }
      let words = try #require(error?.description)
      #expect(words.contains("migration 1 (interactions) was applied with other text"))
      #expect(error?.isConnectionLost == false)
      #expect(try await database.migrator().migrate().applied == [])
    }
  }

  /// The texts of migrations are in databases: those of releases, and what was pushed since.
  @Test func textsOfReleasedMigrationsStay() {
    #expect(
      Migration.all.prefix(4).map { $0.checksum.prefix(16) } == [
        "b6bfc2fee37a461b", "54e190ed1929e6d4", "aa6cdf1455cdc381", "b93b09d43b554d4e",
      ])
  }

  @Test func leavesNothingOfAMigrationThatFailsAndTakesItUpAgain() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let failing = Migration.all(
        and: "half",
        .transaction("CREATE TABLE parley.half (a int); INSERT INTO parley.half SELECT 1 / 0;", locks: ""))
      let error = await #expect(throws: Migrator.Failure.self) { try await database.migrator().migrate(failing) }
      let words = try #require(error?.description)
      #expect(words.contains("division by zero"))
      // Those before it stand.
      #expect(try database.sql("SELECT count(*) FROM parley.migrations") == [["\(names.count)"]])
      #expect(try database.sql("SELECT to_regclass('parley.half')") == [[""]])

      let mended = Migration.all(and: "half", .transaction("CREATE TABLE parley.half (a int);", locks: ""))
      #expect(try await database.migrator().migrate(mended).applied == ["half"])
      #expect(try database.sql("SELECT to_regclass('parley.half')") == [["parley.half"]])
    }
  }

  @Test func saysThatTheDatabaseIsAway() async throws {
    let migrator = Migrator(url: "host=/nowhere/at/all", logger: .silent)
    let error = await #expect(throws: Migrator.Failure.self) { try await migrator.migrate() }
    #expect(error?.isConnectionLost == true)
  }

  // MARK: Older and newer than the database

  @Test func startsOnANewerSchemaThatAllowsIt() async throws {
    try await TestDatabase.with { database in
      let newer = Migration.all(and: "newer", oldestVersion: newest, .transaction("SELECT", locks: ""))
      #expect(try await database.migrator().migrate(newer).notice == nil)
      for outcome in [try await database.migrator().migrate(), try await database.migrator().check()] {
        #expect(outcome.applied == [])
        #expect(outcome.schema == SchemaVersion(newest: newest + 1, oldestAllowed: newest))
        #expect(outcome.notice?.contains("at version \(newest + 1), newer than the \(newest)") == true)
      }
    }
  }

  @Test func refusesANewerSchemaThatDoesNotAllowIt() async throws {
    try await TestDatabase.with { database in
      let newer = Migration.all(and: "newer", oldestVersion: newest + 1, .transaction("SELECT", locks: ""))
      _ = try await database.migrator().migrate(newer)
      for ask in [{ try await $0.migrate() }, { try await $0.check() }]
        as [@Sendable (Migrator) async throws -> Migrator.Outcome]
      {
        let error = await #expect(throws: Migrator.Failure.self) { try await ask(database.migrator()) }
        let words = try #require(error?.description)
        #expect(words.contains("at version \(newest + 1), newer than the \(newest) this parley knows"))
        #expect(words.contains("knows version \(newest + 1) or later"))
      }
      // What a binary applied that says nothing of older ones, is for its like alone.
      try database.sql("UPDATE parley.migrations SET oldest_version = NULL")
      await #expect(throws: Migrator.Failure.self) { try await database.migrator().migrate() }
    }
  }

  @Test func takesOverADatabaseOfARelease() async throws {
    try await TestDatabase.with(migrated: false) { database in
      _ = try await database.migrator().migrate(Array(Migration.all.prefix(4)))
      try database.sql("ALTER TABLE parley.migrations DROP oldest_version; DROP TABLE parley.migration_steps")
      #expect(try await database.migrator().plan().first == "the schema is at version 4, and would come to \(newest):")
      let outcome = try await database.migrator().migrate()
      #expect(outcome.applied == Array(names.dropFirst(4)))
      #expect(outcome.schema == SchemaVersion(newest: newest, oldestAllowed: 4))
    }
  }

  @Test func newFormatsWaitUntilNoOlderBinaryMayStart() async throws {
    try await TestDatabase.with { database in
      let before = try await database.migrator().check().schema
      #expect(before.allowsFormat(of: before.oldestAllowed) && !before.allowsFormat(of: newest))
      #expect(try await database.migrator().require(newest).allowsFormat(of: newest))
      #expect(try await database.migrator().check().schema == SchemaVersion(newest: newest, oldestAllowed: newest))
      // What was let go by is written by now: it is not taken back.
      for version in [newest - 1, newest + 1] {
        let error = await #expect(throws: Migrator.Failure.self) { try await database.migrator().require(version) }
        #expect(error?.description.contains("\(version) cannot be required") == true)
      }
      let older = Array(Migration.all.dropLast())
      let error = await #expect(throws: Migrator.Failure.self) { try await database.migrator().migrate(older) }
      #expect(error?.description.contains("needs one that knows version \(newest)") == true)
    }
  }

  @Test func aSchemaThatLacksSomethingIsNoneToWorkWith() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let error = await #expect(throws: Migrator.Failure.self) { try await database.migrator().check() }
      let words = try #require(error?.description)
      #expect(words.contains("run parley migrate"))
    }
  }

  @Test func planTellsEveryStepAndChangesNothing() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let migrations = Migration.all(
        and: "more", oldestVersion: 3, .transaction("SELECT 1 / 0", locks: "the moon"),
        .index(name: "moon_phase", table: "parley.moon", definition: "(phase)"),
        .backfill("SELECT 1 / 0", locks: "a crater"))
      let lines = try await database.migrator().plan(migrations)
      #expect(lines[0] == "the schema is at version 0, and would come to \(newest + 1):")
      #expect(
        lines.suffix(4) == [
          "  \(newest + 1) more; servers that know version 3 go on",
          "    1. in one transaction; locks the moon",
          "    2. makes the index moon_phase of parley.moon outside a transaction; locks the table against other changes of the schema alone",
          "    3. some rows at a time, each time in a transaction; locks a crater",
        ])
      #expect(try database.sql("SELECT to_regnamespace('parley')") == [[""]])
    }
  }
}
