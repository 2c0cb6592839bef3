import Postgres

/// Background work that any number of servers may try, and one at a time does, by a lease. Each has a file of its own in
/// this folder.
///
/// A job decides what is done. `JobRunner` decides when.
protocol Job: Sendable {
  /// As the log names it.
  var name: String { get }
  /// The shortest pause when nothing is left to do.
  var interval: Duration { get }
  /// Whether a server that stops does what is left first. If not, what is under way is rolled back.
  var finishesOnStop: Bool { get }

  /// Does a bounded piece of the work, if there is any and no other server has the lease.
  func runOnce(on session: Session) throws(PostgresError) -> NextRun
}

/// When a job is due again.
enum NextRun {
  /// There may be more to do.
  case atOnce
  case afterPause
}
