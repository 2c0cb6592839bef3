import Domain
import Logging
import Synchronization

/// A few reading connections that take turns. Owns them; as many reads run at once as there are, and
/// a bounded number waits in line.
final class ReaderPool: Sendable {
  private struct State {
    var idle: [PostgresConnection]
    var waiting: [(ticket: UInt64, continuation: CheckedContinuation<PostgresConnection?, Never>)] = []
    var nextTicket: UInt64 = 0
  }

  private let state: Mutex<State>

  init(_ configuration: PostgresConnection.Configuration, count: Int, logger: Logger) {
    state = Mutex(
      State(idle: (0..<count).map { _ in PostgresConnection(configuration, purpose: .reader, logger: logger) }))
  }

  /// Runs `body` on a connection. Reads change nothing, so one that lost its connection is tried once
  /// more: PostgreSQL may have restarted since the connection's last use.
  func read<R: Sendable>(
    _ body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) async throws(RPCError) -> R {
    let connection = try await acquire()
    defer { release(connection) }
    var result = await connection.run(body)
    if case .failure(let error) = result, error.isConnectionLost { result = await connection.run(body) }
    switch result {
    case .success(let value): return value
    case .failure(let error): throw error.rpcError
    }
  }

  private func acquire() async throws(RPCError) -> PostgresConnection {
    let ticket = state.withLock { state in
      state.nextTicket += 1
      return state.nextTicket
    }
    let connection = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let immediate: PostgresConnection?? = state.withLock { state in
          if Task.isCancelled { return .some(nil) }
          if let connection = state.idle.popLast() { return connection }
          if state.waiting.count >= Limits.readsWaitingMax { return .some(nil) }
          state.waiting.append((ticket, continuation))
          return nil
        }
        if let immediate { continuation.resume(returning: immediate) }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        state.waiting.firstIndex { $0.ticket == ticket }.map { state.waiting.remove(at: $0) }
      }
      waiter?.continuation.resume(returning: nil)
    }
    guard let connection else { throw Task.isCancelled ? .cancelled : .overloaded("too many reads wait") }
    return connection
  }

  private func release(_ connection: PostgresConnection) {
    let next = state.withLock { state in
      if state.waiting.isEmpty {
        state.idle.append(connection)
        return nil as CheckedContinuation<PostgresConnection?, Never>?
      }
      return state.waiting.removeFirst().continuation
    }
    next?.resume(returning: connection)
  }
}
