import Domain
import Synchronization

/// Gets interactions by their ids. Gets of one tenant that wait at the same time share one statement, as
/// waiting records share one commit; an idle store asks for each at once.
///
/// It owns the line of those that wait, which is bounded, and lets at most `concurrency` statements run.
final class InteractionLookup: Sendable {
  typealias Answer = Result<Interaction?, RPCError>

  /// A call that waits for its interaction.
  private struct Waiter {
    var ticket: UInt64
    var id: InteractionID
    var executor: any AnswerExecutor
    var answer: @Sendable (Answer) -> Void
  }

  /// The waiters of a statement that is under way, or waits for its connection.
  private struct Batch {
    var tickets: Set<UInt64>
    var giveUp: Cancellation?
  }

  private struct State {
    /// In the order of their tenants' turns.
    var line: [(tenant: Tenant, waiters: [Waiter])] = []
    var waitingCount = 0
    var batches: [UInt64: Batch] = [:]
    var nextTicket: UInt64 = 0
  }

  private let state = Mutex(State())
  private let readers: ReaderPool
  private let numbers: TenantNumbers
  private let concurrency: Int

  init(_ readers: ReaderPool, _ numbers: TenantNumbers, concurrency: Int) {
    self.readers = readers
    self.numbers = numbers
    self.concurrency = concurrency
  }

  /// Giving up leaves the line; a statement whose last waiter gives up is cancelled, too.
  func interaction(
    _ id: InteractionID, tenant: Tenant, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (Answer) -> Void
  ) -> Cancellation {
    let ticket: UInt64? = state.withLock { state in
      if state.waitingCount >= Limits.readsWaitingMax { return nil }
      state.nextTicket += 1
      let waiter = Waiter(ticket: state.nextTicket, id: id, executor: executor, answer: answer)
      if let place = state.line.firstIndex(where: { $0.tenant == tenant }) {
        state.line[place].waiters.append(waiter)
      } else {
        state.line.append((tenant, [waiter]))
      }
      state.waitingCount += 1
      return state.nextTicket
    }
    guard let ticket else {
      executor.execute { answer(.failure(.overloaded("too many reads wait"))) }
      return {}
    }
    startNext()
    return { self.cancel(ticket) }
  }

  private func cancel(_ ticket: UInt64) {
    let (withdrawn, giveUp): (Waiter?, Cancellation?) = state.withLock { state in
      for place in state.line.indices {
        guard let index = state.line[place].waiters.firstIndex(where: { $0.ticket == ticket }) else { continue }
        let waiter = state.line[place].waiters.remove(at: index)
        if state.line[place].waiters.isEmpty { state.line.remove(at: place) }
        state.waitingCount -= 1
        return (waiter, nil)
      }
      for (key, batch) in state.batches where batch.tickets.contains(ticket) {
        state.batches[key]!.tickets.remove(ticket)
        // Answered when the statement has ended, as every cancelled read is.
        return (nil, batch.tickets.count == 1 ? batch.giveUp : nil)
      }
      return (nil, nil)
    }
    giveUp?()
    if let withdrawn { withdrawn.executor.execute { withdrawn.answer(.failure(.cancelled)) } }
  }

  /// Starts a statement for all that wait of the next tenant, where one may be started.
  private func startNext() {
    let next: (tenant: Tenant, waiters: [Waiter], key: UInt64)? = state.withLock { state in
      guard state.batches.count < concurrency, !state.line.isEmpty else { return nil }
      let (tenant, all) = state.line.removeFirst()
      let waiters = Array(all.prefix(Limits.getsPerStatementMax))
      if waiters.count < all.count { state.line.append((tenant, Array(all.dropFirst(waiters.count)))) }
      state.waitingCount -= waiters.count
      let key = waiters[0].ticket
      state.batches[key] = Batch(tickets: Set(waiters.map(\.ticket)), giveUp: nil)
      return (tenant, waiters, key)
    }
    guard let (tenant, waiters, key) = next else { return }
    let leaveLine = readers.acquire { [self] acquired in
      switch acquired {
      case .failure(let error): end(waiters, key, .failure(error))
      case .success(let connection):
        let task = Task(executorPreference: connection.taskExecutor) { [self] in
          let found = await find(waiters, tenant, on: connection)
          readers.release(connection)
          end(waiters, key, found)
        }
        offer({ task.cancel() }, for: key, isLast: true)
      }
    }
    offer(leaveLine, for: key, isLast: false)
  }

  /// How a batch can be given up from now on; at once, where all of its waiters have given up meanwhile.
  private func offer(_ giveUp: @escaping Cancellation, for key: UInt64, isLast: Bool) {
    let isAbandoned = state.withLock { state in
      guard let batch = state.batches[key], isLast || batch.giveUp == nil else { return false }
      state.batches[key]!.giveUp = giveUp
      return batch.tickets.isEmpty
    }
    if isAbandoned { giveUp() }
  }

  private func find(
    _ waiters: [Waiter], _ tenant: Tenant, on connection: PostgresConnection
  ) async -> Result<[InteractionID: Interaction], RPCError> {
    do throws(RPCError) {
      return .success(
        try await connection.read { [numbers] (connection) throws(PostgresError) in
          let found = try connection.reading(tenant, numbers) { (connection, tenant) throws(PostgresError) in
            let command = Command(.getInteractions) {
              $0.add(tenant.key.rawValue)
              $0.add(waiters.map(\.id))
            }
            var found: [InteractionID: Interaction] = [:]
            for row in try connection.read(command, tenant: tenant, plan: .keyed) {
              let interaction = try Interaction(row)
              found[interaction.id] = interaction
            }
            return found
          }
          return found ?? [:]
        })
    } catch {
      return .failure(error)
    }
  }

  private func end(_ waiters: [Waiter], _ key: UInt64, _ found: Result<[InteractionID: Interaction], RPCError>) {
    state.withLock { _ = $0.batches.removeValue(forKey: key) }
    startNext()
    var answers = AnswerBundle<Answer>()
    for waiter in waiters { answers.add(found.map { $0[waiter.id] }, to: waiter.answer, on: waiter.executor) }
    answers.send()
  }
}
