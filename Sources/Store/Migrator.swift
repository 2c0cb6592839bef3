import Crypto
import Domain
public import Logging

/// Brings the database's schema to what this binary needs.
///
/// The migrations are the files of `Migrations/`, in order; each is one transaction. An advisory lock
/// keeps several servers from migrating at once. What was applied is kept with its checksum: a file
/// that changed since, and a schema newer than this binary, are refused.
public struct Migrator: Sendable {
  struct Migration {
    var version: Int32
    var name: String
    var text: String

    var checksum: String {
      SHA256.hash(data: Array(text.utf8)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
  }

  static let all = [
    Migration(
      version: 1, name: "interactions", text: String(decoding: PackageResources.v0001_interactions_sql, as: UTF8.self)),
    Migration(version: 2, name: "rollups", text: String(decoding: PackageResources.v0002_rollups_sql, as: UTF8.self)),
    Migration(version: 3, name: "postings", text: String(decoding: PackageResources.v0003_postings_sql, as: UTF8.self)),
    Migration(version: 4, name: "changes", text: String(decoding: PackageResources.v0004_changes_sql, as: UTF8.self)),
    Migration(version: 5, name: "leases", text: String(decoding: PackageResources.v0005_leases_sql, as: UTF8.self)),
    Migration(version: 6, name: "tenants", text: String(decoding: PackageResources.v0006_tenants_sql, as: UTF8.self)),
  ]

  /// Why the schema cannot be brought to what this binary needs.
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
    /// PostgreSQL was not there; it may be soon.
    public var isConnectionLost = false
  }

  private let connection: PostgresConnection
  private let logger: Logger

  public init(url: String, logger: Logger) {
    // A migration may take as long as it must.
    let configuration = PostgresConnection.Configuration(url: url, statementTimeout: .zero)
    self.connection = PostgresConnection(configuration, purpose: .owner, logger: logger)
    self.logger = logger
  }

  /// - Returns: the names of the migrations applied now.
  @discardableResult
  public func migrate() async throws -> [String] {
    try await migrate(Self.all)
  }

  func migrate(_ migrations: [Migration]) async throws -> [String] {
    let logger = logger
    let result: Result<Result<[String], Failure>, PostgresError> = await connection.run {
      (connection) throws(PostgresError) in
      defer { connection.close() }  // Which also gives back the lock.
      return try connection.migrate(migrations, logger: logger)
    }
    switch result {
    case .success(let outcome): return try outcome.get()
    case .failure(let error): throw Failure(description: error.message, isConnectionLost: error.isConnectionLost)
    }
  }
}

extension PostgresConnection {
  fileprivate func migrate(
    _ migrations: [Migrator.Migration], logger: Logger
  ) throws(PostgresError) -> Result<[String], Migrator.Failure> {
    try script("SELECT pg_advisory_lock(hashtextextended('parley.migrate', 0))")
    try script(
      """
      CREATE SCHEMA IF NOT EXISTS parley;
      CREATE TABLE IF NOT EXISTS parley.migrations (
        version int PRIMARY KEY,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
      );
      """)
    var applied: [Int32: (name: String, checksum: String)] = [:]
    for row in try run(Command(Statement("migrations", "SELECT version, name, checksum FROM parley.migrations"))) {
      applied[try row.int32(0)] = (try row.text(1), try row.text(2))
    }
    let newest = migrations.last?.version ?? 0
    if let unknown = applied.keys.max(), unknown > newest {
      return .failure(
        .init(
          description:
            "the database's schema is at version \(unknown), newer than the \(newest) this binary knows; run the newer parley"
        ))
    }
    var names: [String] = []
    for migration in migrations {
      if let (_, checksum) = applied[migration.version] {
        guard checksum == migration.checksum else {
          return .failure(
            .init(
              description:
                "migration \(migration.version) (\(migration.name)) was applied with other text than this binary holds; run the parley that applied it"
            ))
        }
        continue
      }
      try script(
        """
        BEGIN;
        \(migration.text)
        INSERT INTO parley.migrations (version, name, checksum)
          VALUES (\(migration.version), '\(migration.name)', '\(migration.checksum)');
        COMMIT;
        """)
      logger.info("applied a migration", metadata: ["version": "\(migration.version)", "name": "\(migration.name)"])
      names.append(migration.name)
    }
    return .success(names)
  }
}

extension Migrator {
  /// Tells this binary's schema from every other: for what keeps a migrated database.
  package static var fingerprint: String {
    Migration(version: 0, name: "all", text: all.map(\.checksum).joined()).checksum
  }
}
