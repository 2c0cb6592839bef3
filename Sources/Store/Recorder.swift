import Domain
import Synchronization

/// Group commit: calls queue here, and whenever a writer is free it commits all that wait in one
/// transaction. A call is answered after that COMMIT. No timer: an idle server commits one row at
/// once, a busy one hundreds together. `CommitQueue` decides who writes what, and when.
///
/// It owns the queue, which is bounded in rows and bytes and fair by tenant, and the writing connections.
final class Recorder: Sendable {
  /// The interactions of one call, and where their outcome goes.
  private struct Submission {
    var rows: [RecordRow]
    var completion: Completion<[Result<Recorded, RPCError>]>
  }

  private typealias Queue = CommitQueue<Submission>

  /// How a writer sleeps until it is called.
  private enum Sleep {
    case none
    case asleep(CheckedContinuation<Void, Never>)
    /// It was called before it slept.
    case called
  }

  private struct State {
    var queue: Queue
    var sleeps: [Sleep]

    /// - Returns: what to resume, if the writer sleeps.
    mutating func wake(_ writer: Int) -> CheckedContinuation<Void, Never>? {
      guard case .asleep(let continuation) = sleeps[writer] else {
        sleeps[writer] = .called
        return nil
      }
      sleeps[writer] = .none
      return continuation
    }
  }

  private let state: Mutex<State>
  private let writers: [BatchWriter]

  init(writers: [BatchWriter]) {
    self.writers = writers
    let queue = Queue(
      writerCount: writers.count,
      queue: Queue.Queue(
        sizeMax: .init(count: Limits.recordQueueInteractionsMax, bytes: Limits.recordQueueBytesMax),
        tenantSizeMax: .init(
          count: Limits.recordQueueInteractionsPerTenantMax, bytes: Limits.recordQueueBytesPerTenantMax),
        turnCount: Limits.recordTurnInteractions),
      batchMax: .init(count: Limits.recordBatchInteractionsMax, bytes: Limits.recordBatchBytesMax))
    state = Mutex(State(queue: queue, sleeps: writers.map { _ in .none }))
  }

  /// Records each of the interactions. To give up takes them off the queue if they still wait there.
  func record(
    _ interactions: [Interaction], tenant: NumberedTenant, _ completion: Completion<[Result<Recorded, RPCError>]>
  ) -> Cancellation {
    guard !interactions.isEmpty else {
      completion.complete(.success([]))
      return {}
    }
    let rows = interactions.map { RecordRow($0, tenant: tenant) }
    let size = Queue.Queue.Size(count: rows.count, bytes: interactions.reduce(0) { $0 + $1.bytes })
    let submission = Submission(rows: rows, completion: completion)
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

  /// Runs where the writer's connection does its work, so that a commit wakes no thread but that one.
  private func run(_ writer: BatchWriter, _ place: Int, on thread: isolated any Actor) async {
    // One connection for writing is made before anybody needs it, the others when they are needed.
    if place == 0 { await connect(place) }
    while true {
      let (step, woken) = state.withLock { state in
        let step = state.queue.next(for: place, at: .now)
        switch step {
        case .write(_, let wake?), .wait(_, let wake?): return (step, state.wake(wake))
        default: return (step, nil)
        }
      }
      woken?.resume()
      switch step {
      case .write(let batch, _):
        let outcomes = await writer.write(batch.flatMap(\.rows))
        let isConnected = await writer.isConnected()
        state.withLock { $0.queue.written(by: place, isConnected: isConnected) }
        complete(batch, outcomes)
      case .wait(let until, _):
        let alarm = Task {
          try? await Task.sleep(until: until, clock: .continuous)
          if !Task.isCancelled { self.call(place) }
        }
        await sleep(place)
        alarm.cancel()
      case .idle: await sleep(place)
      case .connect: await connect(place)
      case .stop: return
      }
    }
  }

  private nonisolated(nonsending) func connect(_ writer: Int) async {
    let isConnected = await writers[writer].connect()
    state.withLock { $0.queue.connected(writer, isConnected) }
  }

  /// Until the writer is called.
  private nonisolated(nonsending) func sleep(_ writer: Int) async {
    await withCheckedContinuation { continuation in
      let isCalled = state.withLock { state in
        if case .called = state.sleeps[writer] {
          state.sleeps[writer] = .none
          return true
        }
        state.sleeps[writer] = .asleep(continuation)
        return false
      }
      if isCalled { continuation.resume() }
    }
  }

  private func call(_ writer: Int) {
    state.withLock { $0.wake(writer) }?.resume()
  }

  private func complete(_ batch: [Submission], _ outcomes: [BatchWriter.Outcome]) {
    var bundle = CompletionBundle<[Result<Recorded, RPCError>]>()
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
      case .failed(let error): return .failure(error)
      }
    }
    return .success(results)
  }

  /// No further calls are taken; those that wait are still written.
  func close() {
    let woken = state.withLock { state in state.queue.close().compactMap { state.wake($0) } }
    for writer in woken { writer.resume() }
  }

  /// The interactions that wait for a writer.
  var waitingCount: Int { state.withLock { $0.queue.size.count } }

  /// How long the slowest writer has been at its batch; nil where none is at one.
  var longestWrite: Duration? { state.withLock { $0.queue.longestWrite(at: .now) } }
}
