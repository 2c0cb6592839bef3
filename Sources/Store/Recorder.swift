import Domain
import Synchronization

/// Group commit: calls queue here, and whenever a writer is free it commits all that wait in one
/// transaction. A call is answered after that COMMIT. No timer: an idle server commits one row at
/// once, a busy one hundreds together. A second writer makes its rows ready while the first's are committed.
///
/// It owns the queue, which is bounded in rows and bytes, and the writing connections.
final class Recorder: Sendable {
  /// The interactions of one call, and who waits for their outcome.
  private struct Submission {
    var ticket: UInt64
    var rows: [RecordRow]
    var bytes: Int
    var continuation: CheckedContinuation<Outcome, Never>
  }

  private typealias Outcome = Result<[Result<Recorded, RPCError>], RPCError>

  private struct State {
    var queue: [Submission] = []
    var rowCount = 0
    var bytes = 0
    var nextTicket: UInt64 = 0
    var isClosed = false
    /// Writers, waiting for work.
    var idleWriters: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())
  private let writers: [BatchWriter]

  init(writers: [BatchWriter]) {
    self.writers = writers
  }

  /// Records each of the interactions. Cancelling takes them off the queue if they still wait there.
  func record(_ interactions: [Interaction], tenant: TenantKey) async throws(RPCError) -> [Result<Recorded, RPCError>] {
    guard !interactions.isEmpty else { return [] }
    let rows = interactions.map { RecordRow(tenant: tenant, interaction: $0) }
    let bytes = interactions.reduce(0) { $0 + $1.bytes }
    let ticket = state.withLock { state in
      state.nextTicket += 1
      return state.nextTicket
    }
    let outcome = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        submit(Submission(ticket: ticket, rows: rows, bytes: bytes, continuation: continuation))
      }
    } onCancel: {
      withdraw(ticket)
    }
    return try outcome.get()
  }

  private func submit(_ submission: Submission) {
    enum Next {
      case wake(CheckedContinuation<Void, Never>?)
      case refuse(RPCError)
    }
    let next: Next = state.withLock { state in
      if Task.isCancelled { return .refuse(.cancelled) }
      if state.isClosed { return .refuse(.draining) }
      // A lone call is always taken, whatever it weighs.
      let fits =
        state.rowCount + submission.rows.count <= Limits.recordQueueInteractionsMax
        && state.bytes + submission.bytes <= Limits.recordQueueBytesMax
      guard fits || state.queue.isEmpty else {
        return .refuse(.overloaded("too many interactions wait to be recorded"))
      }
      state.queue.append(submission)
      state.rowCount += submission.rows.count
      state.bytes += submission.bytes
      return .wake(state.idleWriters.popLast())
    }
    switch next {
    case .wake(let writer): writer?.resume()
    case .refuse(let error): submission.continuation.resume(returning: .failure(error))
    }
  }

  private func withdraw(_ ticket: UInt64) {
    let withdrawn = state.withLock { state -> Submission? in
      guard let place = state.queue.firstIndex(where: { $0.ticket == ticket }) else { return nil }
      let submission = state.queue.remove(at: place)
      state.rowCount -= submission.rows.count
      state.bytes -= submission.bytes
      return submission
    }
    withdrawn?.continuation.resume(returning: .failure(.cancelled))
  }

  /// Writes until `close()` was called and the queue is empty.
  func run() async {
    await withTaskGroup { group in
      for writer in writers { group.addTask { await self.run(writer) } }
    }
  }

  private func run(_ writer: BatchWriter) async {
    while let batch = await nextBatch() {
      let outcomes = await writer.write(batch.flatMap(\.rows))
      switch outcomes {
      case .success(let outcomes):
        var remaining = outcomes[...]
        for submission in batch {
          submission.continuation.resume(returning: .success(Array(remaining.prefix(submission.rows.count))))
          remaining = remaining.dropFirst(submission.rows.count)
        }
      case .failure(let error):
        for submission in batch { submission.continuation.resume(returning: .failure(error)) }
      }
    }
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
  private func nextBatch() async -> [Submission]? {
    while true {
      let (batch, isClosed) = state.withLock { state in (takeBatch(&state), state.isClosed) }
      if !batch.isEmpty { return batch }
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
    return batch
  }
}
