import Synchronization

/// A thread that completions are called on, such as an event loop's.
public protocol CompletionExecutor: Sendable {
  /// The same for all executors of one thread.
  var thread: ObjectIdentifier { get }
  /// The caller runs on that thread.
  var isCurrent: Bool { get }
  /// Where tasks run that begin on that thread; nil: where any task runs.
  var taskExecutor: (any TaskExecutor)? { get }

  /// Runs the work on that thread, later.
  func execute(_ work: @escaping @Sendable () -> Void)
}

extension CompletionExecutor {
  public var taskExecutor: (any TaskExecutor)? { nil }
}

/// Stops an operation early, where that is possible. Its completion is still called.
public typealias Cancellation = @Sendable () -> Void

/// What an operation calls with its outcome: a callback, and the executor that it runs on.
///
/// An operation takes a completion and returns a `Cancellation`. It completes exactly once, perhaps before it has returned.
/// All unary handlers and the store's operations are such operations, because a task for each call would cost about 1 µs.
/// Two kinds of work are async functions instead: streaming handlers, because they wait for each message of their streams,
/// and `Interception.wait`, because only a call with a new token needs it. `complete(by:)` makes an operation of an async
/// function, and `withCompletion(_:)` an async function of an operation.
public struct Completion<Value: Sendable>: Sendable {
  public typealias Outcome = Result<Value, RPCError>

  public let executor: any CompletionExecutor
  @usableFromInline let callback: @Sendable (Outcome) -> Void

  // Inlinable, for code that does not know the type of a value takes several times as long to hand it on.
  @inlinable
  public init(on executor: any CompletionExecutor, _ callback: @escaping @Sendable (Outcome) -> Void) {
    self.executor = executor
    self.callback = callback
  }

  /// May be called on any thread.
  @inlinable
  public func complete(_ outcome: Outcome) {
    if executor.isCurrent {
      callback(outcome)
    } else {
      executor.execute { callback(outcome) }
    }
  }

  /// The same where the caller runs on the executor.
  @inlinable
  public func completeInPlace(_ outcome: Outcome) { callback(outcome) }

  /// A completion of another value, which is turned into one of this.
  @inlinable
  public func map<New>(_ transform: @escaping @Sendable (Completion<New>.Outcome) -> Outcome) -> Completion<New> {
    Completion<New>(on: executor) { [callback] in callback(transform($0)) }
  }

  /// Completes with what an async function returns or throws. It runs as a task, which the cancellation cancels.
  public func complete(
    by operation: @escaping @Sendable () async throws(RPCError) -> Value
  ) -> Cancellation {
    let task = Task(executorPreference: executor.taskExecutor) {
      do throws(RPCError) {
        complete(.success(try await operation()))
      } catch {
        complete(.failure(error))
      }
    }
    return { task.cancel() }
  }
}

/// Waits for an operation that takes a completion. To cancel the task cancels the operation.
public func withCompletion<Value: Sendable>(
  _ operation: (Completion<Value>) -> Cancellation
) async throws(RPCError) -> Value {
  if Task.isCancelled { throw .cancelled }
  let pending = Mutex<Cancellation?>(nil)
  let outcome = await withTaskCancellationHandler {
    await withCheckedContinuation { continuation in
      let cancellation = operation(Completion(on: AnyThread()) { continuation.resume(returning: $0) })
      pending.withLock { $0 = cancellation }
      if Task.isCancelled { cancellation() }
    }
  } onCancel: {
    pending.withLock(\.self)?()
  }
  return try outcome.get()
}

/// Runs callbacks wherever they are called.
private struct AnyThread: CompletionExecutor {
  var thread: ObjectIdentifier { ObjectIdentifier(Self.self) }
  var isCurrent: Bool { true }

  func execute(_ work: @escaping @Sendable () -> Void) { work() }
}
