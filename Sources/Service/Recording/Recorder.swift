import Core
import Synchronization

/// Group commit: calls queue here, and a free writer commits those that wait in one transaction. A call gets its response after
/// that COMMIT. An idle server commits one row at once, a busy one hundreds together. Rows wait for a time in two cases: few rows
/// wait some milliseconds for the end of a batch under way, and a tenant that records alone waits while others read.
/// `CommitQueue` decides who writes what, and when; README.md explains it.
///
/// The recorder owns the queue, which is bounded in rows and bytes and fair by tenant, and the writing connections.
final class Recorder: Sendable {
  /// The interactions of one call, and where their outcome goes.
  private struct Submission {
    var rows: [RecordRow]
    var completion: Completion<[Result<Recorded, RPCError>]>
  }

  private typealias Queue = CommitQueue<Submission>

  /// How a writer sleeps until it is woken.
  private enum Sleep {
    case none
    case asleep(CheckedContinuation<Void, Never>)
    /// It was woken before it slept.
    case woken
  }

  private struct State: ~Copyable {
    var queue: Queue
    var sleeps: [Sleep]
    var recording: RecordingState

    /// - Returns: what to resume, if the writer sleeps.
    mutating func wake(_ writer: Int) -> CheckedContinuation<Void, Never>? {
      guard case .asleep(let continuation) = sleeps[writer] else {
        sleeps[writer] = .woken
        return nil
      }
      sleeps[writer] = .none
      return continuation
    }
  }

  /// As much work for an event loop as to begin eight calls: fewer would make as many small writes of the responses.
  private static let completionsPerTurn = 32

  private let state: Mutex<State>
  private let writers: [BatchWriter]
  private let layout: RecordLayout
  private let readTime: @Sendable (Tenant) -> Duration

  /// - Parameters:
  ///   - failingMax: when every batch has failed for so long, recording counts as broken.
  ///   - readTime: how long reads of other tenants than that one have taken since it was asked before.
  init(
    writers: [BatchWriter], layout: RecordLayout, failingMax: Duration,
    readTimeOfOthers readTime: @escaping @Sendable (Tenant) -> Duration
  ) {
    self.writers = writers
    self.layout = layout
    self.readTime = readTime
    let queue = Queue(
      writerCount: writers.count,
      queue: Queue.Queue(
        sizeMax: .init(count: Limits.recordQueueInteractionsMax, bytes: Limits.recordQueueBytesMax),
        tenantSizeMax: .init(
          count: Limits.recordQueueInteractionsPerTenantMax, bytes: Limits.recordQueueBytesPerTenantMax),
        turnCount: Limits.recordTurnInteractions),
      batchMax: .init(count: Limits.recordBatchInteractionsMax, bytes: Limits.recordBatchBytesMax))
    state = Mutex(
      State(
        queue: queue, sleeps: writers.map { _ in .none }, recording: RecordingState(failingMax: failingMax)))
  }

  /// Records each of the interactions. To give up takes them off the queue if they still wait there.
  func record(
    _ interactions: [Interaction], tenant: NumberedTenant, _ completion: Completion<[Result<Recorded, RPCError>]>
  ) -> Cancellation {
    guard !interactions.isEmpty else {
      completion.complete(.success([]))
      return {}
    }
    var submission = Submission(rows: [], completion: completion)
    submission.rows.reserveCapacity(interactions.count)
    var size = Queue.Queue.Size(count: interactions.count)
    for interaction in interactions {
      size.bytes += interaction.bytes
      submission.rows.append(RecordRow(interaction, tenant: tenant, layout))
    }
    let (enqueued, woken) = state.withLock { state in
      let enqueued = state.queue.enqueue(submission, of: tenant.key, size: size)
      guard case .waits(_, let wake?) = enqueued else { return (enqueued, nil as CheckedContinuation<Void, Never>?) }
      return (enqueued, state.wake(wake))
    }
    woken?.resume()
    switch enqueued {
    case .waits(let ticket, _): return { self.withdraw(ticket) }
    case .full: completion.complete(.failure(.overloaded("too many interactions wait to be recorded")))
    case .closed: completion.complete(.failure(.draining))
    }
    return {}
  }

  private func withdraw(_ ticket: Queue.Ticket) {
    state.withLock { $0.queue.cancel(ticket) }?.completion.complete(.failure(.cancelled))
  }

  /// Writes until `close()` was called and the queue is empty. To cancel the task closes it: what waits is the
  /// callers', who are still answered.
  func run() async {
    let work = Task {
      await withTaskGroup { group in
        for (place, writer) in writers.enumerated() {
          group.addTask { await writer.run { await self.run(writer, place, on: $0) } }
        }
      }
    }
    await withTaskCancellationHandler {
      await work.value
    } onCancel: {
      close()
    }
  }

  /// Does what the queue says, where the writer's connection does its work, so that a commit wakes no thread but that one.
  private func run(_ writer: BatchWriter, _ place: Int, on thread: isolated any Actor) async {
    // One connection for writing is made before anybody needs it, the others when they are needed.
    var action: Queue.Action = place == 0 ? .connect : tell { $0.becameFree(place, at: .now) }
    while true {
      switch action {
      case .write(let batch):
        let rows = batch.flatMap(\.rows)
        let tenant = Self.onlyTenant(of: rows)
        // What came before does not count.
        if let tenant { _ = readTime(tenant.name) }
        let began = ContinuousClock.now
        let outcomes = await writer.write(rows)
        let isConnected = await writer.isConnected()
        note(outcomes, of: rows)
        let end = ContinuousClock.now
        let givingWay = tenant.flatMap { tenant in
          Self.timeToGiveWay(after: outcomes, thatTook: end - began, readTime: readTime(tenant.name))
            .map { (tenant.key, $0) }
        }
        action = tell { $0.written(by: place, isConnected: isConnected, givingWay: givingWay, at: end) }
        complete(batch, outcomes)
      case .connect:
        let isConnected = await writer.connect()
        action = tell { $0.connected(place, isConnected, at: .now) }
      case .sleep(let until):
        let alarm = until.map { until in
          Task {
            try? await Task.sleep(until: until, clock: .continuous)
            if !Task.isCancelled { self.wake(place) }
          }
        }
        await sleep(place)
        alarm?.cancel()
        action = tell { $0.becameFree(place, at: .now) }
      case .stop: return
      }
    }
  }

  /// Whose rows are the whole batch, even of one row; nil for a batch of several tenants.
  static func onlyTenant(of rows: [RecordRow]) -> NumberedTenant? {
    guard let first = rows.first, rows.allSatisfy({ $0.tenant == first.tenant }) else { return nil }
    return NumberedTenant(key: first.tenant, name: first.tenantName)
  }

  /// For how long a tenant leaves the database to others' reads after a batch of its own: for as long as those took meanwhile,
  /// but no longer than the batch, nor than a bound, for a batch may have waited for a lock or for PostgreSQL to come back. So
  /// the reads keep their share of a machine that a flood of records would otherwise fill.
  ///
  /// - Returns: nil after a batch that the database could not write.
  static func timeToGiveWay(
    after outcomes: [BatchWriter.Outcome], thatTook batchTime: Duration, readTime: Duration
  ) -> Duration? {
    let isWritten = outcomes.contains { if case .told = $0 { true } else { false } }
    return isWritten ? min(batchTime, readTime, .milliseconds(Limits.recordGivingWayMillisecondsMax)) : nil
  }

  /// Tells the queue of a writer's event, and wakes the other writer that it names.
  private func tell(_ event: (inout Queue) -> Queue.Step) -> Queue.Action {
    let (action, woken) = state.withLock { state in
      let step = event(&state.queue)
      return (step.action, step.wake.flatMap { state.wake($0) })
    }
    woken?.resume()
    return action
  }

  /// Until the writer is woken.
  private nonisolated(nonsending) func sleep(_ writer: Int) async {
    await withCheckedContinuation { continuation in
      let isWoken = state.withLock { state in
        if case .woken = state.sleeps[writer] {
          state.sleeps[writer] = .none
          return true
        }
        state.sleeps[writer] = .asleep(continuation)
        return false
      }
      if isWoken { continuation.resume() }
    }
  }

  private func wake(_ writer: Int) {
    state.withLock { $0.wake(writer) }?.resume()
  }

  /// Keeps whether the database has written any of a batch.
  private func note(_ outcomes: [BatchWriter.Outcome], of rows: [RecordRow]) {
    guard let outcome = RecordingState.Outcome(outcomes, of: rows) else { return }
    state.withLock { $0.recording.ended(outcome, at: .now) }
  }

  private func complete(_ batch: [Submission], _ outcomes: [BatchWriter.Outcome]) {
    var bundle = CompletionBundle<[Result<Recorded, RPCError>]>(turnCount: Self.completionsPerTurn)
    var place = 0
    for submission in batch {
      let rows = place..<place + submission.rows.count
      place = rows.upperBound
      bundle.add(outcome(of: outcomes[rows]), to: submission.completion)
    }
    bundle.send()
  }

  /// A call fails as a whole where the database failed it in part: to try it again does no harm to the rest.
  private func outcome(of rows: ArraySlice<BatchWriter.Outcome>) -> RecordOutcome {
    var results: [Result<Recorded, RPCError>] = []
    results.reserveCapacity(rows.count)
    for row in rows {
      switch row {
      case .told(let result): results.append(result)
      case .failed(let failure): return .failure(failure.error)
      }
    }
    return .success(results)
  }

  /// No further calls are taken; those that wait are still written.
  func close() {
    let woken = state.withLock { state in
      let asleep = state.queue.close()
      return asleep.compactMap { state.wake($0) }
    }
    for writer in woken { writer.resume() }
  }

  /// The interactions that wait for a writer.
  var waitingCount: Int { state.withLock { $0.queue.size.count } }

  /// How long the slowest writer has been at its batch; nil where none is at one.
  var longestWrite: Duration? { state.withLock { $0.queue.longestWrite(at: .now) } }

  /// Why no batch is written; nil where they are.
  var fault: String? { state.withLock { $0.recording.fault(at: .now) } }
}
