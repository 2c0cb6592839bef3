import Core
import Postgres
import Synchronization

/// Gets interactions by their ids. Gets of one tenant that wait at the same time share one statement, as
/// waiting records share one commit.
///
/// It owns the queue of those that wait, which is bounded, and lets at most `concurrency` statements run.
/// `LookupQueue` decides which go together.
final class InteractionLookup: Sendable {
  /// A call that waits for its interaction.
  private struct Waiter {
    var id: InteractionID
    var completion: Completion<Interaction?>
  }

  private let queue: Mutex<LookupQueue<Waiter>>
  private let readers: ReaderPool
  private let numbers: TenantNumbers
  private let layout: RecordLayout
  private let keyedReadMax: Duration

  /// - Parameter keyedReadMax: a statement that holds a connection for longer goes on among the reads that scan rows.
  init(
    _ readers: ReaderPool, _ numbers: TenantNumbers, _ layout: RecordLayout, concurrency: Int, keyedReadMax: Duration
  ) {
    self.readers = readers
    self.numbers = numbers
    self.layout = layout
    self.keyedReadMax = keyedReadMax
    queue = Mutex(
      LookupQueue(
        concurrency: concurrency, getsPerStatementMax: Limits.getsPerStatementMax,
        getsPerSharedTurnMax: Limits.getsPerSharedTurnMax, longMax: Limits.longGetStatementsPerTenantMax,
        waitingMax: Limits.readsWaitingMax,
        waitingPerTenantMax: Limits.readsWaitingPerTenantMax))
  }

  /// The gets that wait for a statement.
  var waitingCount: Int { queue.withLock { $0.waitingCount } }

  /// Giving up leaves the queue; a statement whose last waiter gives up is cancelled, too.
  func interaction(
    _ id: InteractionID, tenant: Tenant, _ completion: Completion<Interaction?>
  ) -> Cancellation {
    let waiter = Waiter(id: id, completion: completion)
    let (ticket, isToStart) = queue.withLock { queue in (queue.enqueue(waiter, of: tenant), queue.isToStart()) }
    // When all has been read that has come by now, on this connection and others.
    if isToStart { completion.executor.execute { self.startAll() } }
    guard let ticket else {
      completion.complete(.failure(.overloaded("too many reads wait")))
      return {}
    }
    return { self.cancel(ticket) }
  }

  private func cancel(_ ticket: LookupQueue<Waiter>.Ticket) {
    switch queue.withLock({ $0.cancel(ticket) }) {
    case .withdrawn(let waiter): waiter.completion.complete(.failure(.cancelled))
    // Completed when the statement has ended, as every cancelled read is.
    case .abandoned(let giveUp): giveUp?()
    case .ignored: break
    }
  }

  /// Starts as many statements as may be started.
  private func startAll() {
    while let batch = queue.withLock({ $0.startNext() }) { start(batch) }
  }

  /// Gets go by keys and end soon, unless what they read is locked or damaged. A statement that does not is stopped, and
  /// begins again among the reads that scan rows, so that the others do not wait for it; after a pause, where it is locked.
  private func start(_ batch: LookupQueue<Waiter>.Batch, _ kind: ReadKind = .get) {
    let leaveQueue = readers.acquire(of: batch.tenant, kind) { [self] acquired in
      switch acquired {
      case .failure(let error): end(batch, .failure(error))
      case .success(let lease):
        let task = Task(executorPreference: lease.connection.taskExecutor) { [self] in
          let found = await find(batch, on: lease.connection, within: kind == .get ? keyedReadMax : nil)
          var locked: RPCError?
          if let error = found.lockTimeout { locked = await readers.rpcError(ofLock: error, on: lease) }
          if readers.release(lease, after: found), !Task.isCancelled {
            queue.withLock { $0.startsAgain(batch.key) }
            start(batch, kind)
            return
          }
          if let locked { return kind == .get ? goOn(batch, afterLock: locked) : end(batch, .failure(locked)) }
          switch found {
          case .success(let found?): end(batch, .success(found))
          case .success(nil): goOn(batch)
          case .failure(let error): end(batch, .failure(error.rpcError))
          }
        }
        offer({ task.cancel() }, for: batch, isLast: true)
      }
    }
    offer(leaveQueue, for: batch, isLast: false)
  }

  private func goOn(_ batch: LookupQueue<Waiter>.Batch) {
    guard queue.withLock({ $0.takesLong(batch.key) }) else {
      return end(batch, .failure(.overloaded("too many reads that take long wait")))
    }
    start(batch, .scan)
    // Another has its place.
    startAll()
  }

  /// - Parameter error: what those are told who cannot wait.
  private func goOn(_ batch: LookupQueue<Waiter>.Batch, afterLock error: RPCError) {
    guard queue.withLock({ $0.takesLong(batch.key) }) else { return end(batch, .failure(error)) }
    let pause = Task {
      try? await Task.sleep(for: ReaderPool.lockPause)
      if Task.isCancelled { return end(batch, .failure(.cancelled)) }
      queue.withLock { $0.startsAgain(batch.key) }
      start(batch, .scan)
    }
    offer({ pause.cancel() }, for: batch, isLast: false)
    startAll()
  }

  /// How a batch can be given up from now on; at once, where all of its waiters have given up meanwhile.
  private func offer(_ giveUp: @escaping Cancellation, for batch: LookupQueue<Waiter>.Batch, isLast: Bool) {
    if queue.withLock({ $0.offer(giveUp, for: batch.key, isLast: isLast) }) { giveUp() }
  }

  /// What gets of one statement found, and those that failed by themselves.
  private struct Found {
    var interactions: [InteractionID: Interaction] = [:]
    var failures: [InteractionID: PostgresError] = [:]
  }

  /// - Parameter limit: nil for as long as it takes.
  /// - Returns: nil where it took longer.
  private func find(
    _ batch: LookupQueue<Waiter>.Batch, on connection: ReaderConnection, within limit: Duration?
  ) async -> Result<Found?, PostgresError> {
    let ids = batch.waiters.map(\.id)
    let together = await find(ids, of: batch.tenant, on: connection, within: limit)
    guard case .failure(let error) = together, let parts = Self.parts(of: ids, after: error, isLastTry: limit == nil)
    else {
      return together.map { found in found.map { Found(interactions: $0) } }
    }
    var found = Found()
    for ids in parts {
      switch await find(ids, of: batch.tenant, on: connection, within: limit) {
      case .success(let some?): found.interactions.merge(some) { $1 }
      case .success(nil): return .success(nil)
      case .failure(let error): for id in ids { found.failures[id] = error }
      }
    }
    return .success(found)
  }

  /// What is looked for apart once that together has failed: a damaged row fails the gets of no other, nor a locked month those
  /// of other months.
  ///
  /// - Returns: nil where nothing is to be gained by that.
  private static func parts(
    of ids: [InteractionID], after error: PostgresError, isLastTry: Bool
  ) -> [[InteractionID]]? {
    var parts: [[InteractionID]] = []
    if error.mayBeOfOneRow {
      parts = ids.map { [$0] }
    } else if error.isLockTimeout, isLastTry {
      let months = Array(Dictionary(grouping: ids) { Months(covering: $0...$0, now: .now) }.values)
      // Each that is locked takes its time.
      if months.count <= monthsApartMax { parts = months }
    }
    return parts.count > 1 ? parts : nil
  }

  private func find(
    _ ids: [InteractionID], of tenant: Tenant, on connection: ReaderConnection, within limit: Duration?
  ) async -> Result<[InteractionID: Interaction]?, PostgresError> {
    await connection.run { [numbers, layout] (connection) throws(PostgresError) in
      guard let limit else { return try connection.interactions(ids, of: tenant, numbers, layout) }
      return try connection.within(limit) { (connection) throws(PostgresError) in
        try connection.interactions(ids, of: tenant, numbers, layout)
      }
    }
  }

  /// The ids of more months than this are looked for in one statement.
  static let monthsApartMax = 8

  /// Ids tell their months: each month's are looked for by a statement of their own, all in one round trip.
  static func commands(
    _ ids: [InteractionID], _ tenant: TenantKey, _ layout: RecordLayout, now: Timestamp = .now
  ) -> [Command] {
    var byMonths = Dictionary(grouping: ids) { Months(covering: $0...$0, now: now) }
    if byMonths.count > monthsApartMax { byMonths = [Months(covering: ids.min()!...ids.max()!, now: now): ids] }
    return byMonths.map { months, ids in
      Command(layout.statements.get(in: months)) {
        $0.add(tenant.rawValue)
        $0.add(ids)
      }
    }
  }

  private func end(_ batch: LookupQueue<Waiter>.Batch, _ found: Result<Found, RPCError>) {
    queue.withLock { $0.ended(batch.key) }
    startAll()
    var bundle = CompletionBundle<Interaction?>(turnCount: 8)
    for waiter in batch.waiters {
      let outcome = found.flatMap { (found) -> Completion<Interaction?>.Outcome in
        found.failures[waiter.id].map { .failure($0.ofRead) } ?? .success(found.interactions[waiter.id])
      }
      bundle.add(outcome, to: waiter.completion)
    }
    bundle.send()
  }
}

extension PostgresError {
  /// What a caller is told whose read it has failed.
  fileprivate var ofRead: RPCError { isLockTimeout ? .readLocked(cause: rpcError.cause ?? message) : rpcError }
}

extension ReaderSession {
  fileprivate func interactions(
    _ ids: [InteractionID], of tenant: Tenant, _ numbers: TenantNumbers, _ layout: RecordLayout
  ) throws(PostgresError) -> [InteractionID: Interaction] {
    let found = try reading(tenant, numbers) { (connection, tenant) throws(PostgresError) in
      var found: [InteractionID: Interaction] = [:]
      let commands = InteractionLookup.commands(ids, tenant.key, layout)
      for rows in try connection.read(commands, tenant: tenant, plan: .keyed) {
        for row in rows {
          let interaction = try layout.interaction(row)
          found[interaction.id] = interaction
        }
      }
      return found
    }
    return found ?? [:]
  }
}
