import Logging
import Store

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
    let name = "parley_template_\(Migrator.fingerprint.prefix(16))"
    let half = "\(name)_half"
    let server = try DatabaseSession.server()
    // Held until the session ends.
    try server.sql("SELECT pg_advisory_lock(hashtextextended('\(name)', 0))")
    guard try server.count("SELECT count(*) FROM pg_database WHERE datname = '\(name)'") == 0 else { return name }
    try server.sql("DROP DATABASE IF EXISTS \(half) WITH (FORCE)")
    try server.sql("CREATE DATABASE \(half)")
    try await Migrator(url: "\(try TestDatabase.serverURL()) dbname=\(half)", logger: .silent).migrate()
    try server.sql("ALTER DATABASE \(half) ALLOW_CONNECTIONS false")
    try server.sql("ALTER DATABASE \(half) RENAME TO \(name)")
    return name
  }
}
