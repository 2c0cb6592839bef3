import Logging
import Service

/// The database that each test's is a copy of: migrated once for each server and schema, whichever test or process
/// comes first.
actor TemplateDatabase {
  static let shared = TemplateDatabase()

  private var making: Task<String, any Error>?

  /// Its name, once it is there.
  func name() async throws -> String {
    let making = making ?? Task { try await Self.make() }
    self.making = making
    do {
      return try await making.value
    } catch {
      self.making = nil
      throw error
    }
  }

  /// It has its name only once it is whole, and nobody can connect to it: PostgreSQL copies no database that somebody
  /// is connected to.
  private static func make() async throws -> String {
    let kind = TestDatabase.isDistributed ? "nodes" : "template"
    let name = "parley_\(kind)_\(Migrator.fingerprint.prefix(16))"
    let half = "\(name)_half"
    let server = try DatabaseSession.server()
    // Held until the session ends.
    try server.sql("SELECT pg_advisory_lock(hashtextextended('\(name)', 0))")
    guard try server.count("SELECT count(*) FROM pg_database WHERE datname = '\(name)'") == 0 else { return name }
    if TestDatabase.isDistributed {
      try CitusNodes.makeDatabase(half)
    } else {
      try server.sql("DROP DATABASE IF EXISTS \(half) WITH (FORCE)")
      try server.sql("CREATE DATABASE \(half)")
    }
    try await Migrator(url: "\(try TestDatabase.serverURL()) dbname=\(half)", logger: .silent)
      .migrate(distributing: TestDatabase.isDistributed)
    try CitusNodes.everywhere("ALTER DATABASE \(half) ALLOW_CONNECTIONS false")
    if TestDatabase.isDistributed {
      // The nodes' own connections, to each other and of their maintenance.
      try CitusNodes.everywhere(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '\(half)'")
    }
    try CitusNodes.everywhere("ALTER DATABASE \(half) RENAME TO \(name)")
    return name
  }
}
