/// A reader's session: all it can do is to read behind a fence.
package struct ReaderSession {
  private let session: Session

  init(_ session: Session) {
    self.session = session
  }

  /// Runs a query behind the fence, in the query's own transaction and in one snapshot.
  package func read(_ command: Command, behind fence: ReadFence) throws(PostgresError) -> Rows {
    try session.open()
    let statements = [fence.command, command]
    // A reader's session has one snapshot for a transaction by itself. A pooler's is not the reader's.
    let answers = try session.pipeline(
      session.isPooled ? [Command(.beginRepeatableRead)] + statements + [Command(.commit)] : statements)
    let begun = session.isPooled ? 1 : 0
    try fence.check(answers[begun])
    return answers[begun + 1]
  }

  /// Runs `body` behind the fence, in one transaction and one snapshot.
  package func read<R>(
    behind fence: ReadFence, _ body: (ReadTransaction) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    try session.inTransaction([Command(.beginRepeatableRead), fence.command]) {
      (session, begun) throws(PostgresError) in
      try fence.check(begun[1])
      return try body(ReadTransaction(session))
    }
  }

  /// Runs `body` for no longer than that.
  ///
  /// - Returns: nil where it took longer; then it was stopped.
  package func within<R>(
    _ limit: Duration, _ body: (ReaderSession) throws(PostgresError) -> R
  ) throws(PostgresError) -> R? {
    try session.within(limit) { (_) throws(PostgresError) in try body(self) }
  }
}
