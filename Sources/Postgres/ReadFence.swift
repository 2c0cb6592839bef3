/// What every transaction of a reader begins with: a statement that sets, for that transaction alone, a role that owns
/// nothing, and what row security goes by.
package struct ReadFence {
  let command: Command
  private let checkAnswer: (Row) throws(PostgresError) -> Void

  /// - Parameters:
  ///   - command: takes the role, and answers with one row.
  ///   - check: throws where that row says that the transaction is not what it was to be; then nothing of it counts.
  package init(_ command: Command, _ check: @escaping (Row) throws(PostgresError) -> Void) {
    precondition(command.statement.setsRole, "a fence has to take the role that row security binds")
    self.command = command
    checkAnswer = check
  }

  func check(_ rows: Rows) throws(PostgresError) {
    guard let row = rows.first(where: { _ in true }) else {
      throw PostgresError(kind: .unexpectedAnswer, message: "\(command.statement.name) answered with no row")
    }
    try checkAnswer(row)
  }
}
