import Synchronization

/// Takes answers to the thread of those who asked.
public protocol AnswerExecutor: Sendable {
  /// The same for all that take answers to the same thread.
  var thread: ObjectIdentifier { get }

  func execute(_ work: @escaping @Sendable () -> Void)
}

/// Gives up what was begun. It is still answered.
public typealias Cancellation = @Sendable () -> Void

/// Work that needs no task of its own: it answers once, on the executor, and not before it has returned what
/// gives it up.
public typealias Answering<Answer> =
  @Sendable (any AnswerExecutor, @escaping @Sendable (Answer) -> Void) -> Cancellation

/// Waits for such work, for those that have a task. Cancelling the task gives the work up.
public func awaited<Answer: Sendable>(
  _ work: Answering<Result<Answer, RPCError>>
) async throws(RPCError) -> Answer {
  if Task.isCancelled { throw .cancelled }
  let giveUp = Mutex<Cancellation?>(nil)
  let answer = await withTaskCancellationHandler {
    await withCheckedContinuation { continuation in
      let cancellation = work(OnTheSpot()) { continuation.resume(returning: $0) }
      giveUp.withLock { $0 = cancellation }
      if Task.isCancelled { cancellation() }
    }
  } onCancel: {
    giveUp.withLock(\.self)?()
  }
  return try answer.get()
}

/// Takes answers on whatever thread they come.
private struct OnTheSpot: AnswerExecutor {
  var thread: ObjectIdentifier { ObjectIdentifier(Self.self) }

  func execute(_ work: @escaping @Sendable () -> Void) { work() }
}
