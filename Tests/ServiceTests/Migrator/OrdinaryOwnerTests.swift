import Core
import Foundation
import TestSupport
import Testing

@testable import Service

/// The database's owner need not be a superuser.
@Suite(.timeLimit(.minutes(5))) struct OrdinaryOwnerTests {
  /// Runs `body` with an empty database whose owner, of a new name, may not make roles; the name of a
  /// role for readers that is not there yet; and the migrations with that role for their own.
  private func withOrdinaryOwner(
    _ body: (TestDatabase, _ owner: String, _ reader: String, [Migration]) async throws -> Void
  ) async throws {
    let unique = UUID().uuidString.lowercased().prefix(8)
    let (owner, reader) = ("test_owner_\(unique)", "test_reader_\(unique)")
    let migrations = Migration.all.map { $0.replacing("parley_reader", with: reader) }
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

  private func migrator(_ database: TestDatabase, as owner: String, readerRole: String = "parley_reader") -> Migrator {
    Migrator(
      url: "\(database.url) user=\(owner)", logger: .silent, lockTimeout: .seconds(2), pauseMax: .seconds(15),
      readerRole: readerRole)
  }

  @Test func isToldWhatToHaveRunWhereTheRoleIsMissing() async throws {
    try await withOrdinaryOwner { database, owner, reader, migrations in
      let error = await #expect(throws: Migrator.Failure.self) {
        try await migrator(database, as: owner, readerRole: reader).migrate(migrations)
      }
      let words = try #require(error?.description)
      #expect(words.contains("the role \(reader) is missing and \(owner) may not create it"))
      #expect(words.contains("CREATE ROLE \(reader) NOLOGIN; GRANT \(reader) TO \(owner);"))
      #expect(!words.contains("HINT"))
    }
  }

  @Test func isToldWhatToHaveRunWhereItIsNoMember() async throws {
    try await withOrdinaryOwner { database, owner, reader, migrations in
      try database.sql("CREATE ROLE \(reader) NOLOGIN")
      let error = await #expect(throws: Migrator.Failure.self) {
        try await migrator(database, as: owner, readerRole: reader).migrate(migrations)
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
      #expect(try await migrator(database, as: owner).migrate().applied == Migration.all.map(\.name))
      let interaction = Interaction.sample()
      try await database.withStore(.init(url: "\(database.url) user=\(owner)")) { store async throws in
        #expect(try await store.record(interaction) == .new(interaction))
        #expect(try await store.record(interaction) == .already(interaction))
        #expect(try await store.interaction(interaction.id, of: .a)?.content == interaction.content)
      }
    }
  }
}
