/// What every transaction of a reader begins with: a statement that sets, for that transaction alone, a role that owns
/// nothing, and what row security goes by.
package struct ReadFence {
  let command: Command
  let distributedStatement: Statement
  private let checkResponse: (Row) throws(PostgresError) -> Void

  /// - Parameters:
  ///   - command: takes the role, and answers with one row.
  ///   - distributedStatement: the same, with the same parameters, where tables are distributed: role and settings reach
  ///     every node.
  ///   - check: throws where that row says that the transaction is not what it was to be; then nothing of it counts.
  package init(
    _ command: Command, distributed distributedStatement: Statement,
    _ check: @escaping (Row) throws(PostgresError) -> Void
  ) {
    precondition(
      command.statement.setsRole && distributedStatement.setsRole,
      "a fence has to take the role that row security binds")
    self.command = command
    self.distributedStatement = distributedStatement
    checkResponse = check
  }

  func command(on session: Session) throws(PostgresError) -> Command {
    try session.isDistributed ? Command(distributedStatement, command.parameters) : command
  }

  func check(_ rows: Rows) throws(PostgresError) {
    guard let row = rows.first(where: { _ in true }) else {
      throw PostgresError(kind: .unexpectedResponse, message: "\(command.statement.name) answered with no row")
    }
    try checkResponse(row)
  }
}
