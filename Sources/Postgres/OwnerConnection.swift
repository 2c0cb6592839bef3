package import Logging

/// A connection to PostgreSQL as the owner of the tables: for writers, jobs and migrations. Owns it, and its thread.
package struct OwnerConnection: Sendable {
  private let thread: SessionThread

  package init(_ configuration: ConnectionConfiguration, logger: Logger) {
    thread = SessionThread(configuration, .owner, logger: logger)
  }

  /// Runs `body` on the connection's thread. Cancelling the task cancels the statement under way.
  package nonisolated(nonsending) func run<R: Sendable>(
    _ body: @Sendable (Session) throws(PostgresError) -> R
  ) async -> Result<R, PostgresError> {
    await thread.run(body)
  }

  /// The same for what can be done again: where the connection or its statements were lost, or may only read, it is
  /// tried once more.
  package nonisolated(nonsending) func runRepeatable<R: Sendable>(
    _ body: @Sendable (Session) throws(PostgresError) -> R
  ) async -> Result<R, PostgresError> {
    await thread.runRepeatable(body)
  }

  /// Runs `body` on the connection's thread, and again after whatever it waits for.
  package func stay<R: Sendable>(_ body: @Sendable (isolated any Actor) async -> R) async -> R {
    await thread.stay(body)
  }

  /// A pooler lies between.
  package var isPooled: Bool { get async { await thread.isPooled } }

  /// Whether there is a connection now.
  package nonisolated(nonsending) func isOpen() async -> Bool { await thread.isOpen }

  package func close() async { await thread.close() }
}
