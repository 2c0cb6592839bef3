package import Logging

/// A connection to PostgreSQL that can only read, and only in transactions that begin with a `ReadFence`: outside of one
/// it would read as its user, whom nothing may bind. Owns it, and its thread.
package struct ReaderConnection: Sendable {
  private let thread: SessionThread

  package init(_ configuration: ConnectionConfiguration, logger: Logger) {
    thread = SessionThread(configuration, .reader, logger: logger)
  }

  /// For tasks that are about this connection alone, whose steps then wake no other thread.
  package var taskExecutor: any TaskExecutor { thread.taskExecutor }

  /// Runs `body` on the connection's thread. Cancelling the task cancels the statement under way. Reads change nothing:
  /// where the connection or its statements were lost, they are tried once more.
  package nonisolated(nonsending) func run<R: Sendable>(
    _ body: @Sendable (ReaderSession) throws(PostgresError) -> R
  ) async -> Result<R, PostgresError> {
    await thread.runRepeatable { (session) throws(PostgresError) in try body(ReaderSession(session)) }
  }

  /// Makes the connection before anybody needs it.
  package func connect() async {
    _ = await thread.run { (session) throws(PostgresError) in try session.open() }
  }
}
