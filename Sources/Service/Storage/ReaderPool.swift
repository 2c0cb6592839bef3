import Core
import Logging
import Postgres
import Synchronization

/// A few reading connections that take turns. Owns them; as many reads run at once as there are, and
/// a bounded number waits, tenant by tenant in turn. `PoolQueue` decides who has which.
final class ReaderPool: Sendable {
  typealias Acquired = Result<Lease, RPCError>

  /// A connection that is somebody's until it is given back.
  struct Lease: Sendable {
    let connection: ReaderConnection
    fileprivate let lease: PoolQueue<Waiter>.Lease
  }

  fileprivate typealias Waiter = @Sendable (Acquired) -> Void

  private let connections: [ReaderConnection]
  private let queue: Mutex<PoolQueue<Waiter>>

  /// - Parameter scansMax: so many of them, at a time, are for reads that scan rows.
  init(_ configuration: ConnectionConfiguration, count: Int, scansMax: Int, logger: Logger) {
    connections = (0..<count).map { _ in ReaderConnection(configuration, logger: logger) }
    queue = Mutex(
      PoolQueue(
        connectionCount: count, scansMax: scansMax, waitingMax: Limits.readsWaitingMax,
        waitingPerTenantMax: Limits.readsWaitingPerTenantMax))
  }

  /// Makes one connection before anybody needs it.
  func connectOne() async { await connections[0].connect() }

  /// Runs `body` on a connection.
  func read<R: Sendable>(
    of tenant: Tenant, _ kind: ReadKind,
    _ body: @Sendable (ReaderSession) throws(PostgresError) -> R
  ) async throws(RPCError) -> R {
    while true {
      let lease = try await withCompletion { completion in acquire(of: tenant, kind) { completion.complete($0) } }
      let result = await lease.connection.run(body)
      let triesAgain = release(lease, after: result)
      switch result {
      case .success(let value): return value
      case .failure(let error): if !triesAgain || Task.isCancelled { throw error.rpcError }
      }
    }
  }

  /// Hands over a connection: at once, or where another is given back. Who takes it gives it back.
  func acquire(
    of tenant: Tenant, _ kind: ReadKind, _ take: @escaping @Sendable (Acquired) -> Void
  ) -> Cancellation {
    switch queue.withLock({ $0.acquire(take, of: tenant, kind, at: .now) }) {
    case .lease(let lease): take(.success(self.lease(lease)))
    case .full: take(.failure(.overloaded("too many reads wait")))
    case .waits(let ticket):
      return { self.queue.withLock { $0.cancel(ticket) }?(.failure(.cancelled)) }
    }
    return {}
  }

  /// Gives a connection back after what was done on it.
  ///
  /// - Returns: whether that is to be done again on another, for this one could not be made.
  func release(_ lease: Lease, after result: Result<some Any, PostgresError>) -> Bool {
    var isConnected = true
    if case .failure(let error) = result { isConnected = !error.isConnectionLost }
    let (next, triesAgain) = queue.withLock {
      $0.release(lease.lease, isConnected: isConnected, at: .now)
    }
    for (waiter, lease) in next { waiter(.success(self.lease(lease))) }
    return triesAgain
  }

  /// The reads that wait for a connection.
  func waitingCount(_ kind: ReadKind) -> Int { queue.withLock { $0.waitingCount(kind) } }

  private func lease(_ lease: PoolQueue<Waiter>.Lease) -> Lease {
    Lease(connection: connections[lease.connection], lease: lease)
  }
}
