import Logging
import Postgres

/// Whether a pooler that lies before PostgreSQL keeps the statements that a connection has prepared by name. One that does
/// not has them on PostgreSQL's connections, which its clients get in turns: a statement is then missing where it was
/// prepared by nobody, and cannot be prepared where somebody else has.
struct PreparedCheck {
  let url: String
  let logger: Logger

  /// Two clients use one statement in turns, each in transactions of its own.
  ///
  /// - Returns: false where it was missing, or somebody else's. Where there is no pooler, that cannot be.
  func isKept() async throws(PostgresError) -> Bool {
    let configuration = ConnectionConfiguration(url: url, preparedStatements: .on)
    let connections = (0..<2).map { _ in OwnerConnection(configuration, logger: logger) }
    for _ in 0..<2 {
      for connection in connections {
        let result = await connection.run { (session) throws(PostgresError) in
          // The second looks for what the first has prepared.
          for _ in 0..<2 { _ = try session.run(Command(.preparedProbe)) }
        }
        if case .failure(let error) = result, error.isPreparedStatementStale { return false }
        try result.get()
      }
    }
    return true
  }
}

extension Statement {
  fileprivate static let preparedProbe = Statement("prepared_probe", "SELECT 1")
}
