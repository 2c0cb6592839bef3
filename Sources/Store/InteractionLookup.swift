import Domain
import Synchronization

/// Gets interactions by their ids. Gets of one tenant that wait at the same time share one statement, as
/// waiting records share one commit; an idle store asks for each at once.
///
/// It owns the line of those that wait, which is bounded, and lets at most `concurrency` statements run.
final class InteractionLookup: Sendable {
  private typealias Answer = Result<Interaction?, RPCError>

  /// A call that waits for its interaction.
  private struct Waiter {
    var ticket: UInt64
    var id: InteractionID
    var continuation: CheckedContinuation<Answer, Never>
  }

  /// The waiters of a statement under way, and the task that runs it.
  private struct Batch {
    var tickets: Set<UInt64>
    var task: Task<Void, Never>?
  }

  private struct State {
    /// In the order of their tenants' turns.
    var line: [(tenant: TenantKey, waiters: [Waiter])] = []
    var waitingCount = 0
    var batches: [UInt64: Batch] = [:]
    var nextTicket: UInt64 = 0
  }

  private let state = Mutex(State())
  private let readers: ReaderPool
  private let concurrency: Int

  init(_ readers: ReaderPool, concurrency: Int) {
    self.readers = readers
    self.concurrency = concurrency
  }

  /// Cancelling leaves the line; a statement whose last waiter is cancelled is cancelled, too.
  func interaction(_ id: InteractionID, tenant: TenantKey) async throws(RPCError) -> Interaction? {
    let ticket = state.withLock { state in
      state.nextTicket += 1
      return state.nextTicket
    }
    let answer = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let refusal: RPCError? = state.withLock { state in
          if Task.isCancelled { return .cancelled }
          if state.waitingCount >= Limits.readsWaitingMax { return .overloaded("too many reads wait") }
          let waiter = Waiter(ticket: ticket, id: id, continuation: continuation)
          if let place = state.line.firstIndex(where: { $0.tenant == tenant }) {
            state.line[place].waiters.append(waiter)
          } else {
            state.line.append((tenant, [waiter]))
          }
          state.waitingCount += 1
          return nil
        }
        if let refusal { continuation.resume(returning: .failure(refusal)) } else { startNext() }
      }
    } onCancel: {
      cancel(ticket)
    }
    return try answer.get()
  }

  private func cancel(_ ticket: UInt64) {
    let withdrawn = state.withLock { state -> Waiter? in
      for place in state.line.indices {
        guard let index = state.line[place].waiters.firstIndex(where: { $0.ticket == ticket }) else { continue }
        let waiter = state.line[place].waiters.remove(at: index)
        if state.line[place].waiters.isEmpty { state.line.remove(at: place) }
        state.waitingCount -= 1
        return waiter
      }
      for (key, batch) in state.batches where batch.tickets.contains(ticket) {
        state.batches[key]!.tickets.remove(ticket)
        // Answered when the statement has ended, as every cancelled read is.
        if batch.tickets.count == 1 { batch.task?.cancel() }
      }
      return nil
    }
    withdrawn?.continuation.resume(returning: .failure(.cancelled))
  }

  /// Starts a statement for all that wait of the next tenant, where one may be started.
  private func startNext() {
    let next: (tenant: TenantKey, waiters: [Waiter], key: UInt64)? = state.withLock { state in
      guard state.batches.count < concurrency, !state.line.isEmpty else { return nil }
      let (tenant, all) = state.line.removeFirst()
      let waiters = Array(all.prefix(Limits.getsPerStatementMax))
      if waiters.count < all.count { state.line.append((tenant, Array(all.dropFirst(waiters.count)))) }
      state.waitingCount -= waiters.count
      let key = waiters[0].ticket
      state.batches[key] = Batch(tickets: Set(waiters.map(\.ticket)), task: nil)
      return (tenant, waiters, key)
    }
    guard let next else { return }
    // Up to its first wait at once: no thread need wake for it.
    let task = Task.immediate { await answer(next.waiters, next.tenant, next.key) }
    let isAbandoned = state.withLock { state in
      state.batches[next.key]?.task = task
      return state.batches[next.key]?.tickets.isEmpty == true
    }
    if isAbandoned { task.cancel() }
  }

  private func answer(_ waiters: [Waiter], _ tenant: TenantKey, _ key: UInt64) async {
    let found: Result<[InteractionID: Interaction], RPCError>
    do throws(RPCError) {
      found = .success(
        try await readers.read { (connection) throws(PostgresError) in
          let command = Command(.getInteractions) {
            $0.add(tenant.rawValue)
            $0.add(waiters.map(\.id))
          }
          var found: [InteractionID: Interaction] = [:]
          for row in try connection.read(command, tenant: tenant, plan: .keyed) {
            let interaction = try Interaction(row)
            found[interaction.id] = interaction
          }
          return found
        })
    } catch {
      found = .failure(error)
    }
    state.withLock { _ = $0.batches.removeValue(forKey: key) }
    startNext()
    for waiter in waiters { waiter.continuation.resume(returning: found.map { $0[waiter.id] }) }
  }
}
