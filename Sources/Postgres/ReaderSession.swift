/// A reader's session: all it can do is to read behind a fence.
package struct ReaderSession {
  private let session: Session

  init(_ session: Session) {
    self.session = session
  }

  /// Runs queries behind the fence, in their own transaction, in one snapshot and one round trip.
  package func read(_ commands: [Command], behind fence: ReadFence) throws(PostgresError) -> [Rows] {
    var answers: [Rows] = []
    answers.reserveCapacity(commands.count)
    try read(commands, behind: fence) { (_, rows) throws(PostgresError) in answers.append(rows) }
    return answers
  }

  /// The same, giving `take` the rows of each, and its place among them, while PostgreSQL works on the next. What it was
  /// given counts only if this does not throw.
  package func read(
    _ commands: [Command], behind fence: ReadFence, _ take: (Int, Rows) throws(PostgresError) -> Void
  ) throws(PostgresError) {
    let isDistributed = try session.isDistributed
    let statements = try [fence.command(on: session)] + commands
    // A reader's session has one snapshot for a transaction by itself. A pooler's is not the reader's, and other nodes
    // take part in a transaction that BEGIN begins.
    let isBegun = session.isPooled || isDistributed
    let begun = isBegun ? 1 : 0
    var fenceRow: Rows?
    try session.pipeline(
      isBegun ? [Command(.beginRepeatableRead)] + statements + [Command(.commit)] : statements
    ) { (place, rows) throws(PostgresError) in
      if place == begun, fenceRow == nil { fenceRow = rows }
      if (begun + 1..<begun + statements.count).contains(place) { try take(place - begun - 1, rows) }
    }
    try fence.check(fenceRow!)
  }

  /// Runs `body` behind the fence, in one transaction and one snapshot.
  package func read<R>(
    behind fence: ReadFence, _ body: (ReadTransaction) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    try read(behind: fence, beginningWith: [], { (_, _) in }, body)
  }

  /// The same, with queries that go out along with the transaction's begin; `take` is given the rows of each, and its
  /// place among them.
  package func read<R>(
    behind fence: ReadFence, beginningWith commands: [Command],
    _ take: (Int, Rows) throws(PostgresError) -> Void, _ body: (ReadTransaction) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    let begin = try [Command(.beginRepeatableRead), fence.command(on: session)]
    var fenceRow: Rows?
    return try session.inTransaction(begin + commands) { (place, rows) throws(PostgresError) in
      if place == 1, fenceRow == nil { fenceRow = rows }
      if place >= begin.count { try take(place - begin.count, rows) }
    } _: { (session) throws(PostgresError) in
      try fence.check(fenceRow!)
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
