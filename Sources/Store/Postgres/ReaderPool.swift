import Domain
import Logging
import Synchronization

/// A few reading connections that take turns. Owns them; as many reads run at once as there are, and
/// a bounded number waits in line.
final class ReaderPool: Sendable {
  private typealias Taker = @Sendable (Result<PostgresConnection, RPCError>) -> Void

  private struct State {
    var idle: [PostgresConnection]
    var waiting: [(ticket: UInt64, take: Taker)] = []
    var nextTicket: UInt64 = 0
  }

  private let state: Mutex<State>

  init(_ configuration: PostgresConnection.Configuration, count: Int, logger: Logger) {
    state = Mutex(
      State(idle: (0..<count).map { _ in PostgresConnection(configuration, purpose: .reader, logger: logger) }))
  }

  /// Runs `body` on a connection.
  func read<R: Sendable>(
    _ body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) async throws(RPCError) -> R {
    let connection = try await awaited { acquire($1) }
    defer { release(connection) }
    return try await connection.read(body)
  }

  /// Hands over a connection: at once, or where another is given back. Who takes it gives it back.
  func acquire(_ take: @escaping @Sendable (Result<PostgresConnection, RPCError>) -> Void) -> Cancellation {
    enum Next {
      case take(Result<PostgresConnection, RPCError>)
      case wait(ticket: UInt64)
    }
    let next: Next = state.withLock { state in
      if let connection = state.idle.popLast() { return .take(.success(connection)) }
      if state.waiting.count >= Limits.readsWaitingMax { return .take(.failure(.overloaded("too many reads wait"))) }
      state.nextTicket += 1
      state.waiting.append((state.nextTicket, take))
      return .wait(ticket: state.nextTicket)
    }
    switch next {
    case .take(let answer):
      take(answer)
      return {}
    case .wait(let ticket): return { self.withdraw(ticket) }
    }
  }

  private func withdraw(_ ticket: UInt64) {
    let waiter = state.withLock { state in
      state.waiting.firstIndex { $0.ticket == ticket }.map { state.waiting.remove(at: $0) }
    }
    waiter?.take(.failure(.cancelled))
  }

  func release(_ connection: PostgresConnection) {
    let next = state.withLock { state in
      if state.waiting.isEmpty {
        state.idle.append(connection)
        return nil as Taker?
      }
      return state.waiting.removeFirst().take
    }
    next?(.success(connection))
  }
}

extension PostgresConnection {
  /// Reads change nothing, so they can be done again: PostgreSQL may have restarted since the connection's last use.
  nonisolated(nonsending) func read<R: Sendable>(
    _ body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) async throws(RPCError) -> R {
    switch await runRepeatable(body) {
    case .success(let value): return value
    case .failure(let error): throw error.rpcError
    }
  }
}
