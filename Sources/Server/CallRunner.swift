public import Domain
import NIOCore
import Synchronization
import Wire

/// The memory that the calls under way on all connections may take.
final class CallMemory: Sendable {
  private let bytesInFlight = Atomic<Int>(0)

  /// Takes that much of the memory for calls, if it is there.
  func reserve(_ bytes: Int) -> Bool {
    if bytesInFlight.add(bytes, ordering: .relaxed).newValue <= Limits.callBytesInFlightMax { return true }
    release(bytes)
    return false
  }

  func release(_ bytes: Int) {
    bytesInFlight.subtract(bytes, ordering: .relaxed)
  }
}

/// How far a call comes without waiting for anything.
public enum CallProgress<Answer: Sendable>: Sendable {
  case replied(Answer)
  /// This is left, and may wait.
  case working(@Sendable () async -> Answer)
  /// This is left, and needs no task: it answers once, later, on the executor.
  case answering(Answering<Answer>)

  func map<New: Sendable>(_ transform: @escaping @Sendable (Answer) -> New) -> CallProgress<New> {
    switch self {
    case .replied(let answer): .replied(transform(answer))
    case .working(let work): .working { transform(await work()) }
    case .answering(let work): .answering { executor, answer in work(executor) { answer(transform($0)) } }
    }
  }
}

/// A call that was started; to be cancelled when its caller gives up.
final class RunningCall<Answer: Sendable> {
  fileprivate var giveUp: Cancellation?
  /// nil: it has no end but its caller's.
  fileprivate let deadline: NIODeadline?
  /// nil once it was answered.
  fileprivate var answer: ((Answer) -> Void)?

  fileprivate init(deadline: NIODeadline?, answer: @escaping (Answer) -> Void) {
    self.deadline = deadline
    self.answer = answer
  }
}

/// Runs the calls of one connection on its event loop, each until its answer, its deadline or the connection's
/// end, and answers each exactly once. Used on that event loop alone.
final class CallRunner<Answer: Sendable> {
  private let memory: CallMemory
  private let loop: any EventLoop
  private let executor: EventLoopExecutor
  private let failure: (RPCError) -> Answer
  private var running: [ObjectIdentifier: RunningCall<Answer>] = [:]
  /// Goes off no later than the first deadline of a running call. One for all: most calls end long before
  /// theirs, and a timer for each would cost more than the rest of their bookkeeping.
  private var timer: (deadline: NIODeadline, scheduled: Scheduled<Void>)?

  /// - Parameter failure: the answer that tells of an error.
  init(memory: CallMemory, loop: any EventLoop, failure: @escaping (RPCError) -> Answer) {
    self.memory = memory
    self.loop = loop
    self.executor = EventLoopExecutor(loop)
    self.failure = failure
  }

  /// Runs what `begin` leaves to do; `answer` is called once, later or at once, unless the call is cancelled
  /// before.
  ///
  /// - Parameters:
  ///   - begin: done at once, without the cost of a task, unless the caller waits no longer.
  ///   - timeout: how long the caller waits; nil: it did not say.
  ///   - isBounded: false for a stream that may stay open as long as its caller likes.
  @discardableResult
  func run(
    timeout: Duration?, isBounded: Bool = true, bytes: Int, _ begin: () -> CallProgress<Answer>,
    answer: @escaping (Answer) -> Void
  ) -> RunningCall<Answer>? {
    let longest: Duration? = isBounded ? .seconds(Limits.callSecondsMax) : nil
    let timeout = [timeout, longest].compactMap(\.self).min()
    if let timeout, timeout <= .zero {
      answer(failure(.deadlineExceeded))
      return nil
    }
    let progress = begin()
    if case .replied(let reply) = progress {
      answer(reply)
      return nil
    }
    guard memory.reserve(bytes) else {
      answer(failure(.overloaded("the calls under way fill the server's memory for them")))
      return nil
    }
    let call = RunningCall(deadline: timeout.map { .now() + TimeAmount($0) }, answer: answer)
    running[ObjectIdentifier(call)] = call
    if let deadline = call.deadline { watch(deadline) }
    let bound = NIOLoopBound((runner: self, call: call), eventLoop: loop)
    let finish = { @Sendable [memory] (reply: Answer) in
      memory.release(bytes)
      bound.value.runner.finish(bound.value.call, reply)
    }
    switch progress {
    case .replied: break
    case .answering(let work): call.giveUp = work(executor, finish)
    case .working(let work):
      let task = Task(executorPreference: executor) { [loop] in
        let reply = await work()
        // The task runs on the loop already, unless its last step came from elsewhere.
        if loop.inEventLoop { finish(reply) } else { loop.execute { finish(reply) } }
      }
      call.giveUp = { task.cancel() }
    }
    return call
  }

  /// The caller gave up: stops the work; there is no answer.
  func cancel(_ call: RunningCall<Answer>) {
    call.answer = nil
    call.giveUp?()
    running.removeValue(forKey: ObjectIdentifier(call))
  }

  /// The peer is gone: nobody waits for answers.
  func cancelAll() {
    for call in Array(running.values) { cancel(call) }
    timer?.scheduled.cancel()
    timer = nil
  }

  private func watch(_ deadline: NIODeadline) {
    if let timer, timer.deadline <= deadline { return }
    timer?.scheduled.cancel()
    let bound = NIOLoopBound(self, eventLoop: loop)
    timer = (deadline, loop.scheduleTask(deadline: deadline) { bound.value.endOverdue() })
  }

  private func endOverdue() {
    timer = nil
    let now = NIODeadline.now()
    for call in Array(running.values) {
      guard let deadline = call.deadline, deadline <= now else { continue }
      call.giveUp?()
      finish(call, failure(.deadlineExceeded))
    }
    if let next = running.values.lazy.compactMap(\.deadline).min() { watch(next) }
  }

  private func finish(_ call: RunningCall<Answer>, _ reply: Answer) {
    guard let answer = call.answer else { return }
    call.answer = nil
    running.removeValue(forKey: ObjectIdentifier(call))
    answer(reply)
  }
}
