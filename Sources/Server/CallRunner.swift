public import Domain
import NIOCore
import Wire

/// How far a call comes without waiting for anything.
public enum CallProgress<Answer: Sendable>: Sendable {
  case replied(Answer)
  /// This is left, and may wait. The tenant is nil while nobody knows it.
  case working(for: Tenant?, @Sendable () async -> Answer)
  /// This is left, and needs no task: it answers once, later, on the executor.
  case answering(for: Tenant?, Answering<Answer>)

  func map<New: Sendable>(_ transform: @escaping @Sendable (Answer) -> New) -> CallProgress<New> {
    switch self {
    case .replied(let answer): .replied(transform(answer))
    case .working(let tenant, let work): .working(for: tenant) { transform(await work()) }
    case .answering(let tenant, let work):
      .answering(for: tenant) { executor, answer in work(executor) { answer(transform($0)) } }
    }
  }
}

/// What a call takes of its connection's memory.
struct CallSize {
  /// Of its request.
  var bytes: Int
  /// Of its response, at most; 0 where that is small.
  var responseBytesMax = 0

  /// One interaction, not a page of them: it does not wait behind pages that the peer does not read.
  var mayPass: Bool { responseBytesMax < Limits.frameBytesMax / 4 }
}

/// A call that was started; to be cancelled when its caller gives up.
final class RunningCall<Answer: Sendable> {
  fileprivate let size: CallSize
  /// While it waits for room.
  fileprivate var begin: (() -> CallProgress<Answer>)?
  fileprivate var giveUp: Cancellation?
  /// nil: it has no end but its caller's.
  fileprivate let deadline: NIODeadline?
  /// nil once it was answered.
  fileprivate var answer: ((Answer) -> Void)?

  fileprivate init(size: CallSize, deadline: NIODeadline?, answer: @escaping (Answer) -> Void) {
    self.size = size
    self.deadline = deadline
    self.answer = answer
  }
}

/// Runs the calls of one connection on its event loop, each until its answer, its deadline or the connection's
/// end, and answers each exactly once. Used on that event loop alone.
///
/// A call that may have a large response waits until those before it were read, so that a peer that asks and
/// does not read fills a bounded memory.
final class CallRunner<Answer: Sendable> {
  private let memory: CallMemory
  /// Of calls whose tenant is not known.
  private let ownShare: CallMemory.Share
  /// Of the tenants of the last calls: most connections have one, and few have many.
  private var shares: [CallMemory.Share] = []
  private static var sharesMax: Int { 8 }
  private let unread: UnreadResponses
  private let loop: any EventLoop
  private let executor: EventLoopExecutor
  private let failure: (RPCError) -> Answer
  private var running: [ObjectIdentifier: RunningCall<Answer>] = [:]
  /// Those that wait for room, in their order, and those that wait no longer until their turn would come.
  private var waiting = CircularBuffer<RunningCall<Answer>>()
  /// Of requests whose work is not done, those among them that nobody waits for any longer.
  private(set) var bytesInFlight = 0
  /// What the responses of calls under way may come to.
  private var responseBytesExpected = 0
  /// Goes off no later than the first deadline of a running call. One for all: most calls end long before
  /// theirs, and a timer for each would cost more than the rest of their bookkeeping.
  private var timer: (deadline: NIODeadline, scheduled: Scheduled<Void>)?

  /// - Parameter failure: the answer that tells of an error.
  init(
    memory: CallMemory, unread: UnreadResponses, loop: any EventLoop, failure: @escaping (RPCError) -> Answer
  ) {
    self.memory = memory
    self.ownShare = memory.shareOfOneConnection()
    self.unread = unread
    self.loop = loop
    self.executor = EventLoopExecutor(loop)
    self.failure = failure
  }

  /// Runs what `begin` leaves to do; `answer` is called once, later or at once, unless the call is cancelled
  /// before.
  ///
  /// - Parameters:
  ///   - begin: done at once, without the cost of a task, unless the caller waits no longer or the call has to.
  ///   - timeout: how long the caller waits; nil: it did not say.
  ///   - isBounded: false for a stream that may stay open as long as its caller likes.
  @discardableResult
  func run(
    timeout: Duration?, isBounded: Bool = true, size: CallSize, _ begin: @escaping () -> CallProgress<Answer>,
    answer: @escaping (Answer) -> Void
  ) -> RunningCall<Answer>? {
    let longest: Duration? = isBounded ? .seconds(Limits.callSecondsMax) : nil
    let timeout = [timeout, longest].compactMap(\.self).min()
    if let timeout, timeout <= .zero {
      answer(failure(.deadlineExceeded))
      return nil
    }
    let call = RunningCall(size: size, deadline: timeout.map { loop.now + TimeAmount($0) }, answer: answer)
    if size.responseBytesMax > 0, (!size.mayPass && !waiting.isEmpty) || !hasRoom(for: size) {
      wait(call, begin)
    } else {
      start(call, begin)
    }
    return call.answer == nil ? nil : call
  }

  /// The peer has read something: there may be room for calls that wait.
  func startWaiting() {
    while let call = waiting.first, call.begin == nil || hasRoom(for: call.size) {
      waiting.removeFirst()
      guard let begin = call.begin else { continue }
      stopWaiting(call)
      start(call, begin)
    }
  }

  /// The caller gave up: stops the work; there is no answer.
  func cancel(_ call: RunningCall<Answer>) {
    let hasWaited = call.begin != nil
    call.answer = nil
    call.giveUp?()
    stopWaiting(call)
    running.removeValue(forKey: ObjectIdentifier(call))
    // Those behind it may have room. One that has begun gives its room back when its work is done.
    if hasWaited { startWaiting() }
  }

  /// The peer is gone: nobody waits for answers.
  func cancelAll() {
    waiting.removeAll()
    for call in Array(running.values) { cancel(call) }
    timer?.scheduled.cancel()
    timer = nil
  }

  private func wait(_ call: RunningCall<Answer>, _ begin: @escaping () -> CallProgress<Answer>) {
    do throws(RPCError) {
      try ownShare.reserve(call.size.bytes)
    } catch {
      return finish(call, failure(error))
    }
    bytesInFlight += call.size.bytes
    call.begin = begin
    waiting.append(call)
    watch(call)
  }

  private func stopWaiting(_ call: RunningCall<Answer>) {
    guard call.begin != nil else { return }
    call.begin = nil
    ownShare.release(call.size.bytes)
    bytesInFlight -= call.size.bytes
    running.removeValue(forKey: ObjectIdentifier(call))
  }

  private func hasRoom(for size: CallSize) -> Bool {
    let taken = unread.bytes + responseBytesExpected
    // A connection is closed only past a frame more than its bound.
    let reserve = size.mayPass ? Limits.frameBytesMax : 0
    return taken == 0 || taken + size.responseBytesMax <= Limits.unreadAnswerBytesPerConnectionMax + reserve
  }

  private func start(_ call: RunningCall<Answer>, _ begin: () -> CallProgress<Answer>) {
    let progress = begin()
    if case .replied(let reply) = progress { return finish(call, reply) }
    // On a busy machine the work could end before the timer is looked at.
    if let deadline = call.deadline, deadline <= loop.now { return finish(call, failure(.deadlineExceeded)) }
    let share = share(of: progress)
    do throws(RPCError) {
      try share.reserve(call.size.bytes)
    } catch {
      return finish(call, failure(error))
    }
    bytesInFlight += call.size.bytes
    responseBytesExpected += call.size.responseBytesMax
    watch(call)
    let bound = NIOLoopBound((runner: self, call: call), eventLoop: loop)
    let finish = { @Sendable [bytes = call.size.bytes] (reply: Answer) in
      share.release(bytes)
      bound.value.runner.isDone(bound.value.call, reply)
    }
    switch progress {
    case .replied: break
    case .answering(_, let work):
      let giveUp = work(executor, finish)
      if call.answer != nil { call.giveUp = giveUp }
    case .working(_, let work):
      let task = Task(executorPreference: executor) { [loop] in
        let reply = await work()
        // The task runs on the loop already, unless its last step came from elsewhere.
        if loop.inEventLoop { finish(reply) } else { loop.execute { finish(reply) } }
      }
      call.giveUp = { task.cancel() }
    }
  }

  private func share(of progress: CallProgress<Answer>) -> CallMemory.Share {
    switch progress {
    case .working(let tenant?, _), .answering(let tenant?, _):
      if let share = shares.first(where: { $0.isOf(tenant) }) { return share }
      if shares.count == Self.sharesMax { shares.removeFirst() }
      let share = memory.share(of: tenant)
      shares.append(share)
      return share
    default: return ownShare
    }
  }

  /// The work of a call has ended, whether anybody waits for it or not.
  private func isDone(_ call: RunningCall<Answer>, _ reply: Answer) {
    bytesInFlight -= call.size.bytes
    finish(call, reply)
    responseBytesExpected -= call.size.responseBytesMax
    startWaiting()
  }

  private func finish(_ call: RunningCall<Answer>, _ reply: Answer) {
    guard let answer = call.answer else { return }
    call.answer = nil
    call.giveUp = nil
    running.removeValue(forKey: ObjectIdentifier(call))
    answer(reply)
  }

  // MARK: Deadlines

  private func watch(_ call: RunningCall<Answer>) {
    running[ObjectIdentifier(call)] = call
    if let deadline = call.deadline { watch(deadline) }
  }

  private func watch(_ deadline: NIODeadline) {
    if let timer, timer.deadline <= deadline { return }
    timer?.scheduled.cancel()
    let bound = NIOLoopBound(self, eventLoop: loop)
    timer = (deadline, loop.scheduleTask(deadline: deadline) { bound.value.endOverdue() })
  }

  private func endOverdue() {
    timer = nil
    let now = loop.now
    for call in Array(running.values) {
      guard let deadline = call.deadline, deadline <= now else { continue }
      call.giveUp?()
      stopWaiting(call)
      finish(call, failure(.deadlineExceeded))
    }
    startWaiting()
    if let next = running.values.lazy.compactMap(\.deadline).min() { watch(next) }
  }
}
