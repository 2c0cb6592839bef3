import TestSupport

/// A lock on the table of interactions, which a session of its own holds until `release()`.
final class TableLock {
  enum Mode: String {
    case readsAndWrites = "ACCESS EXCLUSIVE"
    case writes = "SHARE"
  }

  private let session: DatabaseSession

  init(against mode: Mode, in database: TestDatabase) throws {
    session = try database.session()
    try session.sql("BEGIN; LOCK TABLE parley.interactions IN \(mode.rawValue) MODE")
  }

  func release() throws {
    try session.sql("COMMIT")
  }
}

extension TestDatabase {
  /// How many of the server's statements wait for a lock.
  func waitingStatements(of purpose: String = "reader") throws -> Int {
    try sql(
      """
      SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'parley \(purpose)'
      AND state = 'active' AND wait_event_type = 'Lock'
      """
    ).count
  }
}
