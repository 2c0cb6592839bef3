import Core
import Logging
import Messages
import NIOCore
import NIOExtras

/// Runs one gRPC connection: moves bytes between the channel and its `HTTP2Session`, tells a `GRPCConnectionState` what
/// the peer and the calls do, and does what that says. It decides nothing itself.
final class GRPCHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = Never
  typealias OutboundOut = ByteBuffer

  let runner: CallRunner
  let unread: UnreadResponses
  private let unfinished: UnfinishedRequests
  let edge: ConnectionEdge
  let connection: AcceptedConnection
  let logger: Logger
  let clock: LoopClock
  private let lookInterval: TimeAmount
  let session = HTTP2Session()
  var state: GRPCConnectionState
  /// Calls under way.
  var calls: [StreamID: GRPCCall] = [:]
  /// Of streaming responses, who is told when the peer has taken a message, in their order.
  var sends: [StreamID: [@Sendable (Result<Void, RPCError>) -> Void]] = [:]
  private(set) var context: ChannelHandlerContext?
  /// A connection may end while its handlers are being set up.
  private(set) var isActive = false
  private var isReadHeld = false
  private var isProceeding = false
  var isFlushDue = false
  var isFlushing = false
  /// All streams are answered, and no further is taken.
  private(set) var isEndDue = false
  private var reads = 0
  private var sweep: RepeatedTask?

  /// - Parameter unreadResponseTimeout: how long responses may wait for the peer's windows without moving.
  init(
    dispatcher: Dispatcher, runner: CallRunner, unread: UnreadResponses, unfinished: UnfinishedRequests,
    edge: ConnectionEdge, connection: AcceptedConnection, configuration: GRPCConnectionConfiguration,
    unreadResponseTimeout: Duration, loop: any EventLoop, logger: Logger
  ) {
    self.runner = runner
    self.unread = unread
    self.unfinished = unfinished
    self.edge = edge
    self.connection = connection
    self.logger = logger
    self.clock = LoopClock(loop)
    self.state = GRPCConnectionState(
      dispatcher, configuration, unreadResponseTimeout: unreadResponseTimeout, at: clock.now)
    self.lookInterval = TimeAmount(min(.seconds(5), unreadResponseTimeout / 4, configuration.lookInterval))
  }

  // MARK: The channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    isActive = context.channel.isActive
    runner.onRoom = { [unowned self] in proceed() }
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    sweep = context.eventLoop.scheduleRepeatedTask(initialDelay: lookInterval, delay: lookInterval) { _ in
      bound.value.look()
    }
    proceed()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    sweep?.cancel()
    runner.onRoom = nil
    session.close()
    self.context = nil
  }

  func channelInactive(context: ChannelHandlerContext) {
    isActive = false
    session.close()
    state.lost()
    endCalls()
    unread.end()
    _ = unfinished.hold(0)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    logger.debug("closing a connection", metadata: ["reason": "\(error)"])
    context.close(promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let now = clock.now
    unwrapInboundIn(data).withUnsafeReadableBytes { bytes in session.receive(bytes, at: now) { handle($0, at: now) } }
    proceed()
    countUnread()
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    reads += 1
    runner.readEnded()
    context.fireChannelReadComplete()
  }

  /// Reads while responses are being taken, no further.
  func read(context: ChannelHandlerContext) {
    if context.channel.isWritable { context.read() } else { isReadHeld = true }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable {
      flush()
      if isReadHeld, context.channel.isWritable {
        isReadHeld = false
        context.read()
      }
    }
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent {
      state.drain(at: clock.now)
      proceed()
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.eventLoop.scheduleTask(in: .seconds(Limits.drainSecondsMax)) { bound.value.close(promise: nil) }
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// From time to time: what is due.
  private func look() {
    guard isActive else { return }
    if state.streamCount > 0 { connection.noteUse() }
    state.look(
      .init(reads: reads, responseBytesTaken: session.takenBytes, responsesWaiting: session.waitingStreams),
      at: clock.now)
    proceed()
  }

  // MARK: Events and actions

  func handle(_ event: HTTP2Event, at now: ContinuousClock.Instant) {
    guard isActive, !edge.isEnding else { return }
    switch event {
    case .opened(let stream, let fields, let isLast):
      connection.touch()
      session.forEachField(fields) { state.header($0, $1) }
      state.opened(stream, isLast: isLast, at: now)
    case .data(let stream, let bytes): state.received(bytes, on: stream)
    case .ended(let stream): state.ended(stream, at: now)
    case .taken(let stream): taken(on: stream)
    case .closed(let stream):
      state.closed(stream)
      failSends(of: stream)
    case .acknowledged(let ping): state.acknowledged(ping)
    }
    proceed()
  }

  /// Does what the state says. A call may be answered at once: what follows from that is done by the loop that started
  /// it, without a deeper stack.
  func proceed() {
    guard !isProceeding else { return }
    isProceeding = true
    defer { isProceeding = false }
    repeat {
      while let action = state.next() { perform(action) }
      state.returnConnectionWindow(areCallsFull: runner.isFull)
    } while state.hasActions
    flushSoon()
  }

  private func perform(_ action: GRPCConnectionState.Action) {
    switch action {
    case .run(let stream, let method, let head, let message, let timeout):
      run(stream, method, head, message, timeout: timeout)
    case .open(let stream, let method, let head): open(stream, method, head)
    case .deliver(let stream, let message): calls[stream]?.inbox?.add(message)
    case .finish(let stream, let result): calls[stream]?.inbox?.finish(result)
    case .cancel(let stream): cancel(stream)
    case .send(let stream, let outgoing): send(outgoing, on: stream)
    case .reset(let stream, let code): session.reset(stream, code)
    case .returnWindow(let stream, let bytes): session.consume(bytes, of: stream)
    case .returnConnectionWindow(let bytes): session.consumeOfConnection(bytes)
    case .hold(let bytes, let stream): if !unfinished.hold(bytes) { state.hasNoRoom(for: stream) }
    case .ping(let data): session.ping(data)
    case .announceEnd(let data):
      session.announceEnd()
      session.ping(data)
      let bound = NIOLoopBound(self, eventLoop: clock.loop)
      clock.loop.scheduleTask(in: .seconds(Limits.goAwaySecondsMax)) { bound.value.look() }
    case .end(let last):
      session.end(last: last)
      isEndDue = true
    case .close(let reason): close(reason)
    }
  }
}
