import Foundation

/// Where tests run on a coordinator of Citus: its workers, each a PostgreSQL of its own.
enum CitusNodes {
  static let workerURLs: [String] =
    ProcessInfo.processInfo.environment["PARLEY_TEST_CITUS_WORKERS"]?.split(separator: ";").map(String.init) ?? []

  /// Runs SQL in a database of the coordinator and of every worker.
  static func everywhere(_ text: String, in database: String? = nil) throws {
    for url in [try TestDatabase.serverURL()] + workerURLs {
      try DatabaseSession(url: database.map { "\(url) dbname=\($0)" } ?? url).sql(text)
    }
  }

  /// Makes a database on each, which the coordinator's then knows of.
  static func makeDatabase(_ name: String) throws {
    try everywhere("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
    try everywhere("CREATE DATABASE \(name)")
    try everywhere("CREATE EXTENSION citus", in: name)
    let server = try TestDatabase.serverURL()
    let coordinator = try DatabaseSession(url: "\(server) dbname=\(name)")
    let ports = try ([server] + workerURLs).map { try DatabaseSession(url: $0).sql("SHOW port")[0][0] }
    try coordinator.sql("SELECT citus_set_coordinator_host('127.0.0.1', \(ports[0]))")
    for port in ports.dropFirst() { try coordinator.sql("SELECT citus_add_node('127.0.0.1', \(port))") }
  }
}

extension TestDatabase {
  /// Whether tests run on a coordinator of Citus, with the tables distributed over its workers.
  public static var isDistributed: Bool { !CitusNodes.workerURLs.isEmpty }

  /// This database on each worker.
  public func workers() throws -> [DatabaseSession] {
    let name = try sql("SELECT current_database()")[0][0]
    return try CitusNodes.workerURLs.map { try DatabaseSession(url: "\($0) dbname=\(name)") }
  }

  /// Runs `body` with a new database on a coordinator and its workers, whose nodes know each other, and nothing in it.
  public static func withEmptyNodes<R>(_ body: (TestDatabase) async throws -> R) async throws -> R {
    try await Permits.databases.with {
      let name = "test_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
      try CitusNodes.makeDatabase(name)
      defer { drop(name) }
      return try await body(TestDatabase(url: "\(try serverURL()) dbname=\(name)"))
    }
  }
}
