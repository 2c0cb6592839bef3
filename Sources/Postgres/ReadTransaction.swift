/// A reader's transaction behind its fence, where statements run until it ends.
package struct ReadTransaction: StatementRunner {
  private let session: Session

  init(_ session: Session) {
    self.session = session
  }

  package func pipeline(
    _ commands: [Command], _ take: (Int, Rows) throws(PostgresError) -> Void
  ) throws(PostgresError) {
    // It may be over: its own statements could have ended it.
    guard session.isInTransaction else {
      throw PostgresError(
        kind: .unexpectedResponse, message: "a reader's statement is outside of a reading transaction")
    }
    try session.pipeline(commands, take)
  }

  /// The rows of the last query, which ends the transaction along with it.
  package func runLast(_ command: Command) throws(PostgresError) -> Rows {
    try pipeline([command, Command(.commit)])[0]
  }
}
