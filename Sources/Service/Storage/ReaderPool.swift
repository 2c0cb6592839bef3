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
    fileprivate let since: ContinuousClock.Instant
  }

  fileprivate struct Waiter {
    var take: @Sendable (Acquired) -> Void
  }

  private struct State: ~Copyable {
    var queue: PoolQueue<Waiter>
    var readTime = ReadTime()
  }

  private let connections: [ReaderConnection]
  private let state: Mutex<State>
  private let lockHolders = LockHolders()

  /// - Parameter scansMax: so many of them, at a time, are for reads that scan rows.
  init(_ configuration: ConnectionConfiguration, count: Int, scansMax: Int, logger: Logger) {
    connections = (0..<count).map { _ in ReaderConnection(configuration, logger: logger) }
    state = Mutex(
      State(
        queue: PoolQueue(
          connectionCount: count, scansMax: scansMax, waitingMax: Limits.readsWaitingMax,
          waitingPerTenantMax: Limits.readsWaitingPerTenantMax)))
  }

  /// Makes one connection before anybody needs it.
  func connectOne() async { await connections[0].connect() }

  /// Runs `body` on a connection. A read that waits for a lock gives it up soon, and is tried once more after a pause without one,
  /// unless it reads through rows.
  func read<R: Sendable>(
    of tenant: Tenant, _ kind: ReadKind,
    _ body: @Sendable (ReaderSession) throws(PostgresError) -> R
  ) async throws(RPCError) -> R {
    var isLastTry = kind == .scan
    while true {
      let lease = try await withCompletion { completion in acquire(of: tenant, kind) { completion.complete($0) } }
      let result = await lease.connection.run(body)
      var locked: RPCError?
      if let error = result.lockTimeout { locked = await rpcError(ofLock: error, on: lease) }
      let triesAgain = release(lease, after: result)
      if let locked {
        if isLastTry { throw locked }
        isLastTry = true
        try? await Task.sleep(for: Self.lockPause)
        if Task.isCancelled { throw .cancelled }
        continue
      }
      switch result {
      case .success(let value): return value
      case .failure(let error): if !triesAgain || Task.isCancelled { throw error.rpcError }
      }
    }
  }

  /// How long what is locked is left alone before it is tried again.
  static var lockPause: Duration { .milliseconds(Limits.readLockPauseMilliseconds) }

  /// What the caller is told whose read has waited in vain for a lock. Its cause, for the log, names who holds the lock.
  func rpcError(ofLock error: PostgresError, on lease: Lease) async -> RPCError {
    let cause = error.rpcError.cause ?? error.message
    let holders = await lockHolders.words(on: lease.connection)
    return .readLocked(cause: holders.map { "\(cause); \($0)" } ?? cause)
  }

  /// Hands over a connection: at once, or where another is given back. Who takes it gives it back.
  func acquire(
    of tenant: Tenant, _ kind: ReadKind, _ take: @escaping @Sendable (Acquired) -> Void
  ) -> Cancellation {
    let now = ContinuousClock.now
    let (acquired, next) = state.withLock { state -> (PoolQueue<Waiter>.Acquired, [PoolQueue<Waiter>.Served]) in
      let acquired = state.queue.acquire(Waiter(take: take), of: tenant, kind, at: now)
      guard case .waits = acquired else { return (acquired, []) }
      return (acquired, state.queue.serve(at: now))
    }
    hand(out: next, at: now)
    switch acquired {
    case .lease(let lease): take(.success(self.lease(lease, at: now)))
    case .full: take(.failure(.overloaded("too many reads wait")))
    case .waits(let ticket):
      return { self.state.withLock { $0.queue.cancel(ticket) }?.take(.failure(.cancelled)) }
    }
    return {}
  }

  /// Gives a connection back after what was done on it.
  ///
  /// - Returns: whether that is to be done again on another, for this one could not be made.
  func release(_ lease: Lease, after result: Result<some Any, PostgresError>) -> Bool {
    var isConnected = true
    if case .failure(let error) = result { isConnected = !error.isConnectionLost }
    let now = ContinuousClock.now
    let (triesAgain, next) = state.withLock { state in
      state.readTime.add(now - lease.since, of: lease.lease.tenant)
      return (state.queue.release(lease.lease, isConnected: isConnected, at: now), state.queue.serve(at: now))
    }
    hand(out: next, at: now)
    return triesAgain
  }

  private func hand(out leases: [PoolQueue<Waiter>.Served], at now: ContinuousClock.Instant) {
    for (waiter, lease) in leases { waiter.take(.success(self.lease(lease, at: now))) }
  }

  /// The reads that wait for a connection.
  func waitingCount(_ kind: ReadKind) -> Int { state.withLock { $0.queue.waitingCount(kind) } }

  /// How long reads of other tenants than that one have taken since this was asked for the same tenant before; zero where
  /// it was asked for another one in between.
  func readTime(besides tenant: Tenant) -> Duration { state.withLock { $0.readTime.take(besides: tenant) } }

  private func lease(_ lease: PoolQueue<Waiter>.Lease, at now: ContinuousClock.Instant) -> Lease {
    Lease(connection: connections[lease.connection], lease: lease, since: now)
  }
}

extension Result where Failure == PostgresError {
  /// What others have locked was waited for in vain.
  var lockTimeout: PostgresError? {
    if case .failure(let error) = self, error.isLockTimeout { error } else { nil }
  }
}
