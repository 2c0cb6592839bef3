import Domain
import Synchronization

/// Group commit: calls queue here, and whenever a writer is free it commits all that wait in one
/// transaction. A call is answered after that COMMIT. No timer: an idle server commits one row at
/// once, a busy one hundreds together. While one batch is under way, few more rows wait for its end, for two
/// small commits cost twice as much as one; from some rows on, or after a moment, another writer takes them.
///
/// It owns the queue, which is bounded in rows and bytes, and the writing connections.
final class Recorder: Sendable {
  /// The interactions of one call, and where their outcome goes.
  private struct Submission {
    var ticket: UInt64
    var rows: [RecordRow]
    var bytes: Int
    var executor: any AnswerExecutor
    var answer: @Sendable (RecordOutcome) -> Void
  }

  private struct State {
    var queue: [Submission] = []
    var rowCount = 0
    var bytes = 0
    var nextTicket: UInt64 = 0
    /// Batches under way.
    var writingCount = 0
    /// Writers that look again in a moment.
    var watcherCount = 0
    var isClosed = false
    /// Writers, waiting for work.
    var idleWriters: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())
  private let writers: [BatchWriter]

  /// So many rows do not wait for a batch that is under way.
  private static let secondBatchRowsMin = 32
  /// Nor do any for longer than this.
  private static let patience = Duration.milliseconds(5)

  init(writers: [BatchWriter]) {
    self.writers = writers
  }

  /// Records each of the interactions. To give up takes them off the queue if they still wait there.
  func record(
    _ interactions: [Interaction], tenant: NumberedTenant, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (RecordOutcome) -> Void
  ) -> Cancellation {
    guard !interactions.isEmpty else {
      executor.execute { answer(.success([])) }
      return {}
    }
    let rows = interactions.map { RecordRow($0, tenant: tenant) }
    let bytes = interactions.reduce(0) { $0 + $1.bytes }
    enum Next {
      case wake(CheckedContinuation<Void, Never>?)
      case refuse(RPCError)
    }
    let (ticket, next): (UInt64, Next) = state.withLock { state in
      state.nextTicket += 1
      let ticket = state.nextTicket
      if state.isClosed { return (ticket, .refuse(.draining)) }
      // A lone call is always taken, whatever it weighs.
      let fits =
        state.rowCount + rows.count <= Limits.recordQueueInteractionsMax
        && state.bytes + bytes <= Limits.recordQueueBytesMax
      guard fits || state.queue.isEmpty else {
        return (ticket, .refuse(.overloaded("too many interactions wait to be recorded")))
      }
      state.queue.append(Submission(ticket: ticket, rows: rows, bytes: bytes, executor: executor, answer: answer))
      state.rowCount += rows.count
      state.bytes += bytes
      let wakes = mayBegin(state) || state.watcherCount == 0
      return (ticket, .wake(wakes ? state.idleWriters.popLast() : nil))
    }
    switch next {
    case .wake(let writer): writer?.resume()
    case .refuse(let error): executor.execute { answer(.failure(error)) }
    }
    return { self.withdraw(ticket) }
  }

  private func withdraw(_ ticket: UInt64) {
    let withdrawn = state.withLock { state -> Submission? in
      guard let place = state.queue.firstIndex(where: { $0.ticket == ticket }) else { return nil }
      let submission = state.queue.remove(at: place)
      state.rowCount -= submission.rows.count
      state.bytes -= submission.bytes
      return submission
    }
    guard let withdrawn else { return }
    withdrawn.executor.execute { withdrawn.answer(.failure(.cancelled)) }
  }

  /// Writes until `close()` was called and the queue is empty.
  func run() async {
    await withTaskGroup { group in
      for writer in writers {
        group.addTask { await writer.run { _ in await self.run(writer) } }
      }
    }
  }

  /// Runs where the writer's connection does its work, so that a commit wakes no thread but that one.
  private nonisolated(nonsending) func run(_ writer: BatchWriter) async {
    while let batch = await nextBatch() {
      let outcomes = await writer.write(batch.flatMap(\.rows))
      state.withLock { $0.writingCount -= 1 }
      answer(batch, outcomes)
    }
  }

  private func answer(_ batch: [Submission], _ outcomes: Result<BatchWriter.Outcomes, RPCError>) {
    var answers = AnswerBundle<RecordOutcome>()
    var place = 0
    for submission in batch {
      let rows = place..<place + submission.rows.count
      place = rows.upperBound
      answers.add(outcomes.map { Array($0[rows]) }, to: submission.answer, on: submission.executor)
    }
    answers.send()
  }

  /// No further calls are taken; those that wait are still written.
  func close() {
    let writers = state.withLock { state in
      state.isClosed = true
      defer { state.idleWriters = [] }
      return state.idleWriters
    }
    for writer in writers { writer.resume() }
  }

  /// All that waits, within the bounds of one transaction; nil at the end.
  private nonisolated(nonsending) func nextBatch() async -> [Submission]? {
    var isWatching = false
    while true {
      let (batch, isMore, isClosed, other) = state.withLock { state in
        let batch = isWatching || mayBegin(state) ? takeBatch(&state) : []
        let isMore = !state.queue.isEmpty
        if isWatching { state.watcherCount -= 1 }
        isWatching = isMore && batch.isEmpty
        if isWatching { state.watcherCount += 1 }
        return (batch, isMore, state.isClosed, isMore && !isWatching ? state.idleWriters.popLast() : nil)
      }
      other?.resume()
      if !batch.isEmpty { return batch }
      if isMore {
        try? await Task.sleep(for: Self.patience)
        continue
      }
      if isClosed { return nil }
      await withCheckedContinuation { continuation in
        let wakeNow = state.withLock { state in
          if !state.queue.isEmpty || state.isClosed { return true }
          state.idleWriters.append(continuation)
          return false
        }
        if wakeNow { continuation.resume() }
      }
    }
  }

  private func mayBegin(_ state: borrowing State) -> Bool {
    state.writingCount == 0 || state.rowCount >= Self.secondBatchRowsMin || state.isClosed
  }

  private func takeBatch(_ state: inout State) -> [Submission] {
    var (rowCount, bytes, count) = (0, 0, 0)
    for submission in state.queue {
      let fits =
        rowCount + submission.rows.count <= Limits.recordBatchInteractionsMax
        && bytes + submission.bytes <= Limits.recordBatchBytesMax
      guard fits || count == 0 else { break }
      rowCount += submission.rows.count
      bytes += submission.bytes
      count += 1
    }
    let batch = Array(state.queue.prefix(count))
    state.queue.removeFirst(count)
    state.rowCount -= rowCount
    state.bytes -= bytes
    if count > 0 { state.writingCount += 1 }
    return batch
  }
}
