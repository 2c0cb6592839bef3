import Core
import Messages
import NIOCore
import Synchronization

/// A call that was started; to be cancelled when its caller gives up.
final class RunningCall {
  typealias Handle = @Sendable (CallContext, Completion<Response>) -> Cancellation

  fileprivate let method: Method
  fileprivate var context: CallContext
  /// nil: it has no end but its caller's.
  fileprivate let deadline: NIODeadline?
  /// nil once it was called or never will be: it keeps what it handles.
  fileprivate var handle: Handle?
  /// It waits for room for its response.
  fileprivate var isWaiting = false
  fileprivate var cancellation: Cancellation?
  /// Its place among those that run.
  fileprivate var place: Int?
  /// nil once it was answered.
  fileprivate var answer: ((Response) -> Void)?

  fileprivate init(
    _ method: Method, _ context: CallContext, deadline: NIODeadline?, _ handle: @escaping Handle,
    answer: @escaping (Response) -> Void
  ) {
    self.method = method
    self.context = context
    self.deadline = deadline
    self.handle = handle
    self.answer = answer
  }

  fileprivate var bytes: Int { context.bytes }

  /// Its work has ended, whether anybody waits for it or not.
  fileprivate func releaseMemory() { context.memory?.release(context.bytes) }

  fileprivate var responseBytesMax: Int { method.responseBytesMax }

  /// It has a small response, so it does not wait behind large responses that the peer does not read.
  fileprivate var mayPass: Bool { responseBytesMax < Limits.frameBytesMax / 4 }
}

/// Runs the calls of one connection on its event loop: each takes every interceptor's step and then its handler's, until
/// its response, its deadline or the connection's end, and is answered exactly once. Used on that event loop alone.
///
/// A call that may have a large response waits until the peer has read enough of the responses before it. So the memory for
/// responses that a peer does not read is bounded.
final class CallRunner {
  private let interceptors: [any Interceptor]
  private let observers: [any CallObserver]
  private let limits: CallLimits
  private let unread: UnreadResponses
  private let loop: any EventLoop
  private let turns: LoopTurns
  /// Its tenant's; its own, while it has none, and where it makes calls of several, as a gateway does.
  private var executor: TurnExecutor
  private var tenant: Tenant?
  private var hasTenants = false
  /// In no order.
  private var running: [RunningCall] = []
  /// Those that wait for room, in their order, and those that wait no longer until their turn would come.
  private var waiting = CircularBuffer<RunningCall>()
  /// Of requests whose work is not done, those among them that nobody waits for any longer.
  private(set) var bytesInFlight = 0
  /// What the responses of calls under way may come to.
  private var responseBytesExpected = 0
  /// Goes off no later than the first deadline of a running call. One for all: most calls end long before
  /// theirs, and a timer for each would cost more than the rest of their bookkeeping.
  private var timer: (deadline: NIODeadline, scheduled: Scheduled<Void>)?

  /// Called when work that nobody waits for any longer has given its memory back: the connection may be read from again.
  /// (Where somebody waits, the response tells.)
  var onRoom: (() -> Void)?

  /// Those that are to begin in their turn, in their order.
  private var deferred = CircularBuffer<RunningCall>()
  private var isTurnDue = false
  /// So many calls begin at once after a read; the others in turn with those of other tenants.
  private var startsLeft = CallRunner.startsMax
  private static let startsMax = 8
  /// So many begin in a turn, or fewer where they weigh much: calls that were read together are then recorded together,
  /// and their responses go out in few writes.
  private static let startsPerTurnMax = 24
  /// The handler of a request of more begins on another thread.
  private static let smallBytesMax = 32 * 1024

  /// - Parameter turns: those of the connection's event loop.
  init(interceptors: [any Interceptor], memory: CallMemory, unread: UnreadResponses, turns: LoopTurns) {
    self.interceptors = interceptors
    self.observers = interceptors.compactMap { $0 as? any CallObserver }
    self.limits = CallLimits(memory)
    self.unread = unread
    self.loop = turns.loop
    self.turns = turns
    self.executor = TurnExecutor(turns)
  }

  /// Starts a call. `answer` is called once, later or at once, unless the call is cancelled before.
  ///
  /// - Parameters:
  ///   - timeout: how long the caller waits; nil: it did not say.
  ///   - isBounded: false for a stream that may stay open as long as its caller likes.
  ///   - handle: the method's handler, with what it is to handle.
  @discardableResult
  func run(
    _ method: Method, _ context: CallContext, timeout: Duration?, isBounded: Bool = true,
    _ handle: @escaping RunningCall.Handle, answer: @escaping (Response) -> Void
  ) -> RunningCall? {
    let longest = Duration.seconds(Limits.callSecondsMax)
    let timeout = isBounded ? min(timeout ?? longest, longest) : timeout
    if let timeout, timeout <= .zero {
      answer(Response(.deadlineExceeded))
      return nil
    }
    let call = RunningCall(
      method, context, deadline: timeout.map { loop.now + TimeAmount($0) }, handle, answer: answer)
    if startsLeft > 0, deferred.isEmpty {
      startsLeft -= 1
      startOrWait(call)
    } else {
      startInTurn(call)
    }
    return call.answer == nil ? nil : call
  }

  /// As much is under way as may be: the connection is to read no further.
  var isFull: Bool {
    bytesInFlight >= Limits.callBytesInFlightPerConnectionMax || (bytesInFlight > 0 && limits.isCrowded)
  }

  /// The connection has read what was there.
  func readEnded() { startsLeft = Self.startsMax }

  /// The peer has read something: there may be room for calls that wait.
  func startWaiting() {
    while let call = waiting.first, !call.isWaiting || hasRoom(for: call) {
      waiting.removeFirst()
      guard call.isWaiting else { continue }
      stopWaiting(call)
      start(call, at: 0)
    }
  }

  /// The caller gave up: stops the work; there is no response.
  func cancel(_ call: RunningCall) {
    let hasWaited = call.isWaiting
    call.answer = nil
    call.handle = nil
    call.cancellation?()
    stopWaiting(call)
    unwatch(call)
    // Those behind it may have room. One that has begun gives its room back when its work is done.
    if hasWaited { startWaiting() }
  }

  /// The peer is gone: nobody waits for answers.
  func cancelAll() {
    waiting.removeAll()
    for call in deferred {
      release(call)
      cancel(call)
    }
    deferred.removeAll()
    onRoom = nil
    for call in running { cancel(call) }
    timer?.scheduled.cancel()
    timer = nil
  }

  // MARK: Turns

  private func startInTurn(_ call: RunningCall) {
    do throws(RPCError) {
      try hold(call)
    } catch {
      return finish(call, Response(error))
    }
    deferred.append(call)
    awaitTurn()
  }

  private func awaitTurn() {
    guard !isTurnDue else { return }
    isTurnDue = true
    let bound = NIOLoopBound(self, eventLoop: loop)
    executor.execute { bound.value.takeTurn() }
  }

  private func takeTurn() {
    isTurnDue = false
    var (startsLeft, bytesLeft) = (Self.startsPerTurnMax, Self.smallBytesMax)
    while startsLeft > 0, bytesLeft > 0, let call = deferred.popFirst() {
      startsLeft -= 1
      bytesLeft -= call.bytes
      release(call)
      if call.answer != nil { startOrWait(call) } else { onRoom?() }
    }
    if !deferred.isEmpty { awaitTurn() }
  }

  /// The connection shares its tenant's turns, unless it makes calls of several.
  private func join(_ new: Tenant) {
    guard !hasTenants, tenant != new else { return }
    hasTenants = tenant != nil
    executor = hasTenants ? TurnExecutor(turns) : turns.executor(of: new)
    tenant = new
  }

  // MARK: Room

  private func startOrWait(_ call: RunningCall) {
    if call.responseBytesMax > 0, (!call.mayPass && !waiting.isEmpty) || !hasRoom(for: call) {
      wait(call)
    } else {
      start(call, at: 0)
    }
  }

  private func wait(_ call: RunningCall) {
    do throws(RPCError) {
      try hold(call)
    } catch {
      return finish(call, Response(error))
    }
    call.isWaiting = true
    waiting.append(call)
    watch(call)
  }

  private func stopWaiting(_ call: RunningCall) {
    guard call.isWaiting else { return }
    call.isWaiting = false
    release(call)
    unwatch(call)
  }

  /// Keeps a request that its handler has not come to.
  private func hold(_ call: RunningCall) throws(RPCError) {
    try limits.reserve(call.bytes)
    bytesInFlight += call.bytes
  }

  private func release(_ call: RunningCall) {
    limits.release(call.bytes)
    bytesInFlight -= call.bytes
  }

  private func hasRoom(for call: RunningCall) -> Bool {
    let taken = unread.bytes + responseBytesExpected
    // A connection is closed only past a frame more than its bound.
    let reserve = call.mayPass ? Limits.frameBytesMax : 0
    return taken == 0 || taken + call.responseBytesMax <= Limits.unreadResponseBytesPerConnectionMax + reserve
  }

  // MARK: The call's way

  /// Takes the call past the interceptors from a place on, and to its handler.
  private func start(_ call: RunningCall, at first: Int) {
    let method = call.method
    do throws(RPCError) {
      for place in first..<interceptors.count {
        if case .wait(let operation) = try interceptors[place].intercept(method, &call.context) {
          return try wait(call, for: operation, then: place + 1)
        }
      }
      try limits.intercept(&call.context)
    } catch {
      return finish(call, Response(error))
    }
    handle(call)
  }

  private func wait(
    _ call: RunningCall, for operation: @escaping @Sendable (CallContext) async throws(RPCError) -> CallContext,
    then next: Int
  ) throws(RPCError) {
    try hold(call)
    // Its response needs room all the same, which no other call may take meanwhile.
    responseBytesExpected += call.responseBytesMax
    watch(call)
    let bound = NIOLoopBound((runner: self, call: call), eventLoop: loop)
    let completion = Completion<CallContext>(on: executor) { outcome in
      let (runner, call) = bound.value
      runner.release(call)
      runner.responseBytesExpected -= call.responseBytesMax
      switch outcome {
      case .success(let context):
        call.context = context
        if call.answer != nil { runner.start(call, at: next) }
      case .failure(let error): runner.finish(call, Response(error))
      }
      runner.startWaiting()
    }
    let context = call.context
    call.cancellation = completion.complete { () throws(RPCError) in try await operation(context) }
  }

  private func handle(_ call: RunningCall) {
    // On a busy machine the work could end before the timer is looked at.
    if let deadline = call.deadline, deadline <= loop.now {
      call.releaseMemory()
      return finish(call, Response(.deadlineExceeded))
    }
    bytesInFlight += call.bytes
    responseBytesExpected += call.responseBytesMax
    watch(call)
    let context = call.context
    if let tenant = context.claims?.tenant { join(tenant) }
    let bound = NIOLoopBound((runner: self, call: call), eventLoop: loop)
    let completion = Completion<Response>(on: executor) { outcome in
      let (runner, call) = bound.value
      switch outcome {
      case .success(let response): runner.workEnded(call, response)
      case .failure(let error): runner.workEnded(call, Response(error))
      }
    }
    call.cancellation = nil
    guard let body = call.handle else { return }
    call.handle = nil
    guard call.bytes > Self.smallBytesMax, let lane = context.memory?.largeRequests else {
      return offer(body(context, completion), for: call)
    }
    let giveUp = GiveUp()
    call.cancellation = { giveUp.isDue.store(true, ordering: .relaxed) }
    turns.large.add(of: lane) { [executor] in
      if giveUp.isDue.load(ordering: .relaxed) { return completion.complete(.failure(.cancelled)) }
      let cancellation = body(context, completion)
      executor.execute { bound.value.runner.offer(cancellation, for: bound.value.call) }
    }
  }

  /// Of a call whose handler begins on another thread.
  private final class GiveUp: Sendable {
    let isDue = Atomic<Bool>(false)
  }

  /// How a call can be given up from now on. It may have been completed at once, or given up meanwhile.
  private func offer(_ cancellation: @escaping Cancellation, for call: RunningCall) {
    if call.answer != nil { call.cancellation = cancellation } else { cancellation() }
  }

  /// The work of a call has ended, whether anybody waits for it or not.
  private func workEnded(_ call: RunningCall, _ response: Response) {
    call.releaseMemory()
    bytesInFlight -= call.bytes
    // The call needs its context no longer. To move it out changes no reference counts, which a copy would.
    let context = exchange(&call.context, with: .none)
    let isAbandoned = call.answer == nil
    if isAbandoned { for observer in observers { observer.abandoned(call.method, context, response.reply) } }
    finish(call, context, response)
    responseBytesExpected -= call.responseBytesMax
    startWaiting()
    if isAbandoned { onRoom?() }
  }

  private func finish(_ call: RunningCall, _ response: Response) { finish(call, call.context, response) }

  private func finish(_ call: RunningCall, _ context: CallContext, _ response: Response) {
    guard let answer = call.answer else { return }
    call.answer = nil
    call.handle = nil
    call.cancellation = nil
    unwatch(call)
    for observer in observers { observer.answered(call.method, context, response.reply) }
    answer(response)
  }

  // MARK: Deadlines

  private func watch(_ call: RunningCall) {
    if call.place == nil {
      call.place = running.count
      running.append(call)
    }
    if let deadline = call.deadline { watch(deadline) }
  }

  private func unwatch(_ call: RunningCall) {
    guard let place = call.place else { return }
    call.place = nil
    let last = running.removeLast()
    guard last !== call else { return }
    running[place] = last
    last.place = place
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
    for call in running {
      guard let deadline = call.deadline, deadline <= now else { continue }
      // Which would complete it itself.
      let cancellation = call.cancellation
      stopWaiting(call)
      finish(call, Response(.deadlineExceeded))
      cancellation?()
    }
    startWaiting()
    if let next = running.lazy.compactMap(\.deadline).min() { watch(next) }
  }
}
