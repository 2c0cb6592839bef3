import CLibpq
import Foundation
public import Logging
public import Service

/// A database of a test's own, with the schema in it, gone when the test is over.
public struct TestDatabase: Sendable {
  /// As its owner: a superuser, whom row security does not bind.
  public let url: String

  /// Why there is no database, in words for whoever runs the tests.
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  /// The server that databases are made on.
  static func serverURL() throws -> String {
    guard let url = ProcessInfo.processInfo.environment["PARLEY_TEST_DATABASE_URL"] else {
      throw Failure(description: "PARLEY_TEST_DATABASE_URL is not set: run the tests by deploy/test unit")
    }
    return url
  }

  /// Runs `body` with a new database, when few others are in use. `migrated: false` leaves it empty.
  public static func with<R>(
    migrated: Bool = true, _ body: (TestDatabase) async throws -> R
  ) async throws -> R {
    try await Permits.databases.with {
      let server = try serverURL()
      let name = "test_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
      let template = migrated ? try await TemplateDatabase.shared.name() : "template1"
      if migrated {
        try CitusNodes.everywhere("CREATE DATABASE \(name) TEMPLATE \(template)")
      } else {
        try execute("CREATE DATABASE \(name) TEMPLATE \(template)", at: server)
      }
      defer { drop(name) }
      return try await body(TestDatabase(url: "\(server) dbname=\(name)"))
    }
  }

  /// DROP DATABASE waits for every session of the server to take note. In PostgreSQL 15 a session whose statement is
  /// cancelled just then may take note at its next interrupt only, so each is sent one where a drop takes long.
  static func drop(_ name: String) {
    for url in [try? serverURL()].compactMap({ $0 }) + CitusNodes.workerURLs { drop(name, at: url) }
  }

  private static func drop(_ name: String, at server: String) {
    for _ in 0..<10 {
      let isGone: Void? = try? {
        let session = try DatabaseSession(url: server)
        try session.sql("SET statement_timeout = '5s'")
        try session.sql("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
      }()
      if isGone != nil { return }
      _ = try? execute("SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity", at: server)
    }
  }

  /// Runs `body` with a store at work on a new database.
  public static func withStore<R>(
    keyedReadMax: Duration? = nil, _ body: (PostgresStore, TestDatabase) async throws -> R
  ) async throws -> R {
    try await with { database in
      try await database.withStore(keyedReadMax: keyedReadMax) { try await body($0, database) }
    }
  }

  /// Runs `body` with a store at work on this database.
  ///
  /// - Parameter keyedReadMax: how long a read may take before it goes on among those that scan rows.
  public func withStore<R>(
    keyedReadMax: Duration? = nil, _ body: (PostgresStore) async throws -> R
  ) async throws -> R {
    // No statement ends for want of time, however busy the machine is.
    var configuration = PostgresStore.Configuration(url: url, statementTimeout: .seconds(600))
    configuration.waitForLocks()
    if let keyedReadMax { configuration.keyedReadMax = keyedReadMax }
    let store = PostgresStore(configuration, logger: .silent)
    let running = Task { await store.run() }
    do {
      let result = try await body(store)
      store.close()
      await running.value
      return result
    } catch {
      store.close()
      await running.value
      throw error
    }
  }

  /// Runs SQL as the owner and answers with the rows as text; NULL is "".
  @discardableResult
  public func sql(_ text: String) throws -> [[String]] {
    try Self.execute(text, at: url)
  }

  @discardableResult
  private static func execute(_ text: String, at url: String) throws -> [[String]] {
    let connection = PQconnectdb(url)
    defer { PQfinish(connection) }
    let result = PQexec(connection, text)
    defer { PQclear(result) }
    guard [PGRES_COMMAND_OK, PGRES_TUPLES_OK].contains(PQresultStatus(result)) else {
      throw Failure(description: "\(text): \(String(cString: PQerrorMessage(connection)))")
    }
    return (0..<PQntuples(result)).map { row in
      (0..<PQnfields(result)).map { String(cString: PQgetvalue(result, row, $0)) }
    }
  }
}

extension PostgresStore.Configuration {
  /// Tests hold calls up by locks.
  public mutating func waitForLocks() { (lockMax, readLockMax) = (.seconds(600), .seconds(600)) }
}

extension Logger {
  /// Says nothing.
  public static var silent: Logger { Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }) }
}
