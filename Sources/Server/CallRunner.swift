import Domain
import NIOCore
import Synchronization
import Wire

/// What all connections share: the dispatcher, and the memory that calls under way may take.
final class CallContext: Sendable {
  let dispatcher: Dispatcher
  private let bytesInFlight = Atomic<Int>(0)

  init(dispatcher: Dispatcher) {
    self.dispatcher = dispatcher
  }

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

/// Runs the calls of one connection as tasks on its event loop, each until its answer, its deadline or
/// the connection's end, and answers each exactly once. Used on that event loop alone.
final class CallRunner {
  private final class RunningCall {
    var task: Task<Void, Never>?
    var deadline: Scheduled<Void>?
    /// nil once it was answered.
    var answer: ((Reply) -> Void)?
  }

  private let context: CallContext
  private let loop: any EventLoop
  private let executor: EventLoopExecutor
  private var running: [ObjectIdentifier: RunningCall] = [:]

  init(context: CallContext, loop: any EventLoop) {
    self.context = context
    self.loop = loop
    self.executor = EventLoopExecutor(loop)
  }

  /// Runs the call; `answer` is called once, later or at once, unless `cancelAll()` comes before.
  func run(_ call: Call, answer: @escaping (Reply) -> Void) {
    let longest = Duration.seconds(Limits.callSecondsMax)
    let timeout = min(call.timeout ?? longest, longest)
    guard timeout > .zero else { return answer(.failure(.deadlineExceeded)) }
    let bytes = call.bytes
    guard context.reserve(bytes) else {
      return answer(.failure(.overloaded("the calls under way fill the server's memory for them")))
    }
    let current = RunningCall()
    current.answer = answer
    running[ObjectIdentifier(current)] = current
    let bound = NIOLoopBound((runner: self, call: current), eventLoop: loop)
    current.deadline = loop.scheduleTask(in: TimeAmount(timeout)) {
      let (runner, call) = bound.value
      call.task?.cancel()
      runner.finish(call, .failure(.deadlineExceeded))
    }
    current.task = Task(executorPreference: executor) { [context, loop] in
      let reply = await context.dispatcher.reply(to: call)
      context.release(bytes)
      // The task runs on the loop already, unless its last step came from elsewhere.
      if loop.inEventLoop {
        bound.value.runner.finish(bound.value.call, reply)
      } else {
        loop.execute { bound.value.runner.finish(bound.value.call, reply) }
      }
    }
  }

  /// The peer is gone: nobody waits for answers.
  func cancelAll() {
    for call in running.values {
      call.answer = nil
      call.deadline?.cancel()
      call.task?.cancel()
    }
    running.removeAll()
  }

  private func finish(_ call: RunningCall, _ reply: Reply) {
    guard let answer = call.answer else { return }
    call.answer = nil
    call.deadline?.cancel()
    running.removeValue(forKey: ObjectIdentifier(call))
    answer(reply)
  }
}
