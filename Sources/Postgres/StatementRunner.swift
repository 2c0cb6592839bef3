/// What runs statements: a session, or a reading transaction of a reader's.
package protocol StatementRunner {
  /// Sends the commands together and gives `take` the rows of each, and its place among them, while PostgreSQL works on
  /// the next. They are one transaction, unless they begin and commit their own. The first refusal is thrown; then none
  /// has taken effect, and what `take` was given does not count.
  func pipeline(
    _ commands: [Command], _ take: (Int, Rows) throws(PostgresError) -> Void
  ) throws(PostgresError)
}

extension StatementRunner {
  /// The rows of each command.
  package func pipeline(_ commands: [Command]) throws(PostgresError) -> [Rows] {
    var answers: [Rows] = []
    answers.reserveCapacity(commands.count)
    try pipeline(commands) { (_, rows) throws(PostgresError) in answers.append(rows) }
    return answers
  }

  package func run(_ command: Command) throws(PostgresError) -> Rows {
    try pipeline([command])[0]
  }
}
