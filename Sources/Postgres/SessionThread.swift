import Logging

/// A session, on a thread of its own where waiting is free.
actor SessionThread {
  private let session: Session
  private let executor: ThreadExecutor
  /// Has the thread look whether its task was cancelled.
  private nonisolated let wakeup: Wakeup

  init(_ configuration: ConnectionConfiguration, _ role: Session.Role, logger: Logger) {
    let wakeup = Wakeup()
    self.wakeup = wakeup
    session = Session(configuration, role, wakeup, logger: logger)
    executor = ThreadExecutor(name: "pg-\(role.rawValue)")
  }

  /// For tasks that are about this session alone, whose steps then wake no other thread.
  nonisolated var taskExecutor: any TaskExecutor { executor.tasks }

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  var isPooled: Bool { session.isPooled }
  var isOpen: Bool { session.isOpen }

  func close() { session.close() }

  /// Runs `body` on the thread. Cancelling the task cancels the statement under way.
  nonisolated(nonsending) func run<R: Sendable>(
    _ body: @Sendable (Session) throws(PostgresError) -> R
  ) async -> Result<R, PostgresError> {
    await withTaskCancellationHandler {
      await perform(body)
    } onCancel: {
      wakeup.signal()
    }
  }

  /// The same for what can be done again: where the connection or its statements were lost, or may only read, it is
  /// tried once more.
  nonisolated(nonsending) func runRepeatable<R: Sendable>(
    _ body: @Sendable (Session) throws(PostgresError) -> R
  ) async -> Result<R, PostgresError> {
    let result = await run(body)
    if case .failure(let error) = result,
      error.isConnectionLost || error.isPreparedStatementStale || error.isReadOnly
    {
      return await run(body)
    }
    return result
  }

  /// Runs `body` on the thread, and again after whatever it waits for.
  func stay<R: Sendable>(_ body: @Sendable (isolated any Actor) async -> R) async -> R { await body(self) }

  private func perform<R: Sendable>(
    _ body: @Sendable (Session) throws(PostgresError) -> R
  ) -> Result<R, PostgresError> {
    Result { () throws(PostgresError) in
      if Task.isCancelled {
        throw PostgresError(kind: .cancelled, message: "cancelled before it began")
      }
      do throws(PostgresError) {
        return try body(session)
      } catch {
        // PostgreSQL tells a cancelled statement from one that took too long by nothing.
        guard error.isStatementCancelled, Task.isCancelled else { throw error }
        throw PostgresError(kind: .cancelled, message: error.message)
      }
    }
  }
}
