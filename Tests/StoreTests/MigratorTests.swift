import Domain
import Foundation
import TestSupport
import Testing

@testable import Store

@Suite(.timeLimit(.minutes(5))) struct MigratorTests {
  private func migrator(_ database: TestDatabase) -> Migrator {
    Migrator(url: database.url, logger: .silent)
  }

  /// Every migration there is, and then one more of that text.
  private func and(_ name: String, _ text: String) -> [Migrator.Migration] {
    Migrator.all + [Migrator.Migration(version: Migrator.all.last!.version + 1, name: name, text: text)]
  }

  @Test func bringsAnEmptyDatabaseUpAndThenHasNothingToDo() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let names = Migrator.all.map(\.name)
      #expect(try await migrator(database).migrate() == names)
      #expect(try database.sql("SELECT name FROM parley.migrations ORDER BY version").map { $0[0] } == names)
      #expect(try await migrator(database).migrate() == [])
      _ = try await database.withStore { store in try await store.record(.sample()).get() }
      #expect(try await migrator(database).migrate() == [])
      #expect(try database.rowCount() == 1)
    }
  }

  @Test func migratesOnceWhenManyAreAtIt() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let applied = try await withThrowingTaskGroup(of: [String].self) { group in
        for _ in 0..<6 { group.addTask { try await Migrator(url: database.url, logger: .silent).migrate() } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(applied.count == 6)
      #expect(applied.filter { !$0.isEmpty } == [Migrator.all.map(\.name)])
      try await eventually("the lock is given back") {
        try database.sql(
          """
          SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          """) == [["0"]]
      }
    }
  }

  @Test func refusesAMigrationThatChangedSinceItWasApplied() async throws {
    try await TestDatabase.with { database in
      var changed = Migrator.all
      changed[0].text += " "
      let error = await #expect(throws: Migrator.Failure.self) { try await migrator(database).migrate(changed) }
      let words = try #require(error?.description)
      #expect(words.contains("migration 1 (interactions) was applied with other text"))
      #expect(error?.isConnectionLost == false)
      #expect(try await migrator(database).migrate() == [])
    }
  }

  @Test func refusesASchemaNewerThanItself() async throws {
    try await TestDatabase.with { database in
      #expect(try await migrator(database).migrate(and("newer", "CREATE TABLE parley.newer ();")) == ["newer"])
      let error = await #expect(throws: Migrator.Failure.self) { try await migrator(database).migrate() }
      let words = try #require(error?.description)
      #expect(words.contains("at version \(Migrator.all.count + 1), newer than the \(Migrator.all.count)"))
    }
  }

  @Test func leavesNothingOfAMigrationThatFailsAndTakesItUpAgain() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let failing = and("half", "CREATE TABLE parley.half (a int); INSERT INTO parley.half SELECT 1 / 0;")
      let error = await #expect(throws: Migrator.Failure.self) { try await migrator(database).migrate(failing) }
      let words = try #require(error?.description)
      #expect(words.contains("division by zero"))
      // Those before it stand.
      #expect(try database.sql("SELECT count(*) FROM parley.migrations") == [["\(Migrator.all.count)"]])
      #expect(try database.sql("SELECT to_regclass('parley.half')") == [[""]])

      #expect(try await migrator(database).migrate(and("half", "CREATE TABLE parley.half (a int);")) == ["half"])
      #expect(try database.sql("SELECT to_regclass('parley.half')") == [["parley.half"]])
    }
  }

  @Test func saysThatTheDatabaseIsAway() async throws {
    let migrator = Migrator(url: "host=/nowhere/at/all", logger: .silent)
    let error = await #expect(throws: Migrator.Failure.self) { try await migrator.migrate() }
    #expect(error?.isConnectionLost == true)
  }
}

/// The database's owner need not be a superuser.
@Suite(.timeLimit(.minutes(5))) struct OrdinaryOwnerTests {
  /// Runs `body` with an empty database whose owner, of a new name, may not make roles; the name of a
  /// role for readers that is not there yet; and the migrations with that role for their own.
  private func withOrdinaryOwner(
    _ body: (TestDatabase, _ owner: String, _ reader: String, [Migrator.Migration]) async throws -> Void
  ) async throws {
    let unique = UUID().uuidString.lowercased().prefix(8)
    let (owner, reader) = ("test_owner_\(unique)", "test_reader_\(unique)")
    let migrations = Migrator.all.map { migration in
      var migration = migration
      migration.text = migration.text.replacingOccurrences(of: "parley_reader", with: reader)
      return migration
    }
    let server = try DatabaseSession.server()
    try server.sql("CREATE ROLE \(owner) LOGIN")
    defer {
      _ = try? server.sql("DROP ROLE IF EXISTS \(reader)")
      _ = try? server.sql("DROP ROLE \(owner)")
    }
    try await TestDatabase.with(migrated: false) { database in
      let name = try database.sql("SELECT current_database()")[0][0]
      try database.sql("ALTER DATABASE \(name) OWNER TO \(owner)")
      try await body(database, owner, reader, migrations)
    }
  }

  private func migrator(_ database: TestDatabase, as owner: String) -> Migrator {
    Migrator(url: "\(database.url) user=\(owner)", logger: .silent)
  }

  @Test func isToldWhatToHaveRunWhereTheRoleIsMissing() async throws {
    try await withOrdinaryOwner { database, owner, reader, migrations in
      let error = await #expect(throws: Migrator.Failure.self) {
        try await migrator(database, as: owner).migrate(migrations)
      }
      let words = try #require(error?.description)
      #expect(words.contains("the role \(reader) is missing and \(owner) may not create it"))
      #expect(words.contains("CREATE ROLE \(reader) NOLOGIN; GRANT \(reader) TO \(owner);"))
    }
  }

  @Test func isToldWhatToHaveRunWhereItIsNoMember() async throws {
    try await withOrdinaryOwner { database, owner, reader, migrations in
      try database.sql("CREATE ROLE \(reader) NOLOGIN")
      let error = await #expect(throws: Migrator.Failure.self) {
        try await migrator(database, as: owner).migrate(migrations)
      }
      let words = try #require(error?.description)
      #expect(words.contains("\(owner) is not a member of \(reader)"))
      #expect(words.contains("GRANT \(reader) TO \(owner);"))
    }
  }

  @Test func worksOnceTheRoleIsGranted() async throws {
    try await withOrdinaryOwner { database, owner, _, _ in
      // The role is the cluster's: the first migration of any database makes it.
      try await TestDatabase.with { _ in }
      try database.sql("GRANT parley_reader TO \(owner)")
      #expect(try await migrator(database, as: owner).migrate() == Migrator.all.map(\.name))
      let interaction = Interaction.sample()
      try await database.withStore(.init(url: "\(database.url) user=\(owner)")) { store async throws in
        #expect(try await store.record(interaction) == .new(interaction))
        #expect(try await store.record(interaction) == .already(interaction))
        #expect(try await store.interaction(interaction.id, of: .a)?.content == interaction.content)
      }
    }
  }
}
