import CLibpq

/// A connection of a test's own, as a superuser: for locks that last, and for a look from outside.
///
/// It blocks its thread, so ask nothing of it that must wait for the code under test.
public final class DatabaseSession {
  private let connection: OpaquePointer?

  public init(url: String) throws {
    connection = PQconnectdb(url)
    guard PQstatus(connection) == CONNECTION_OK else {
      throw TestDatabase.Failure(description: String(cString: PQerrorMessage(connection)))
    }
    PQsetNoticeProcessor(connection, { _, _ in }, nil)
  }

  deinit {
    PQfinish(connection)
  }

  /// In no test's database, for what concerns the whole server.
  public static func server() throws -> DatabaseSession {
    try DatabaseSession(url: try TestDatabase.serverURL())
  }

  /// Runs SQL and answers with the last statement's rows as text; NULL is "".
  @discardableResult
  public func sql(_ text: String) throws -> [[String]] {
    let result = PQexec(connection, text)
    defer { PQclear(result) }
    guard [PGRES_COMMAND_OK, PGRES_TUPLES_OK].contains(PQresultStatus(result)) else {
      throw TestDatabase.Failure(description: "\(text): \(String(cString: PQerrorMessage(connection)))")
    }
    return (0..<PQntuples(result)).map { row in
      (0..<PQnfields(result)).map { String(cString: PQgetvalue(result, row, $0)) }
    }
  }

  /// The one number of a one-row answer.
  public func count(_ text: String) throws -> Int {
    Int(try sql(text)[0][0])!
  }
}

extension TestDatabase {
  public func session() throws -> DatabaseSession {
    try DatabaseSession(url: url)
  }
}
