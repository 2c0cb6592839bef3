import Core
import Logging
import Messages
import NIOCore
import NIOExtras

/// Runs one ttRPC connection: moves bytes between the channel and its `ServerSession`, and does what
/// the session says.
final class TTRPCHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = Never
  typealias OutboundOut = ByteBuffer

  private(set) var session = ServerSession()
  /// The streaming calls under way.
  var streams: [UInt32: TTRPCStream] = [:]
  private let dispatcher: Dispatcher
  /// The last call's: most calls of a connection are of the same.
  private var lastMethod: Method?
  let runner: CallRunner
  private let unread: UnreadResponses
  private let unfinished: UnfinishedRequests
  private let edge: ConnectionEdge
  let connection: AcceptedConnection
  private let unreadResponseTimeout: Duration
  private let strangerIdleTime: Duration
  private let logger: Logger
  private(set) var context: ChannelHandlerContext?
  private var isProceeding = false
  private var isReadHeld = false
  /// Answers that go out together when this turn of the loop ends.
  private var unsent = ByteBuffer()
  private var isFlushDue = false
  private var frameTimer: Scheduled<Void>?
  private var writtenBytes = 0
  private var stallWatch = StallWatch()
  private var idleWatch = StallWatch()
  private var sweep: RepeatedTask?
  private let clock: LoopClock
  private var drain: Drain?

  /// The server drains.
  private struct Drain {
    var lastRead: NIODeadline
    /// Since when no call is under way.
    var idleSince: NIODeadline?
    var timer: Scheduled<Void>?
  }

  init(
    dispatcher: Dispatcher, runner: CallRunner, unread: UnreadResponses, unfinished: UnfinishedRequests,
    edge: ConnectionEdge, connection: AcceptedConnection, configuration: ParleyServer.Configuration,
    loop: any EventLoop, logger: Logger
  ) {
    self.dispatcher = dispatcher
    self.runner = runner
    self.unread = unread
    self.unfinished = unfinished
    self.edge = edge
    self.connection = connection
    self.unreadResponseTimeout = configuration.unreadResponseTimeout
    self.strangerIdleTime = configuration.strangerIdleTime
    self.clock = LoopClock(loop)
    self.logger = logger
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    runner.onRoom = { [unowned self] in self.context.map(releaseHeldRead) }
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    let interval = TimeAmount(min(.seconds(5), unreadResponseTimeout / 4, strangerIdleTime / 4))
    sweep = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
      let (handler, context) = bound.value
      handler.look(context)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    sweep?.cancel()
    drain?.timer?.cancel()
    runner.onRoom = nil
    self.context = nil
  }

  // MARK: In

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    drain?.lastRead = context.eventLoop.now
    unwrapInboundIn(data).withUnsafeReadableBytes { session.receive($0) }
    proceed(context)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    runner.readEnded()
    context.fireChannelReadComplete()
  }

  /// Reads while answers are being taken and calls are being done, no further.
  func read(context: ChannelHandlerContext) {
    if session.isFull || runner.isFull || !context.channel.isWritable {
      isReadHeld = true
    } else {
      context.read()
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    lookAtUnread(context)
    releaseHeldRead(context)
    context.fireChannelWritabilityChanged()
  }

  func channelInactive(context: ChannelHandlerContext) {
    frameTimer?.cancel()
    endStreams()
    runner.cancelAll()
    unread.end()
    _ = unfinished.hold(0)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    logger.debug("closing a connection", metadata: ["reason": "\(error)"])
    context.close(promise: nil)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent {
      session.isDraining = true
      drain = drain ?? Drain(lastRead: context.eventLoop.now)
      endIfDrained(context)
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.eventLoop.scheduleTask(in: .seconds(Limits.drainSecondsMax)) { bound.value.close(promise: nil) }
    }
    context.fireUserInboundEventTriggered(event)
  }

  private func proceed(_ context: ChannelHandlerContext) {
    // A call may be answered within `run`: the loop that started it goes on, without a deeper stack.
    guard !isProceeding else { return }
    isProceeding = true
    defer { isProceeding = false }
    while let action = session.next() {
      switch action {
      case .start(let call, let stream, let shape): start(call, stream: stream, shape)
      case .receive(let message, let stream, let isLast): receive(message, stream: stream, isLast: isLast)
      case .answer(let error, let stream):
        if let stream = streams[stream] {
          end(stream, .failure(error))
        } else {
          write(.failure(error), stream: stream, context)
        }
      case .close(let reason):
        logger.info("closing a connection", metadata: ["reason": "\(reason)"])
        send(context)
        return edge.end()
      }
    }
    guard unfinished.hold(session.bufferedBytes) else {
      logger.info("closing a connection", metadata: ["reason": "the server has no room for requests that have begun"])
      send(context)
      return edge.end()
    }
    watchFrame(context)
  }

  private func start(_ call: Call, stream: UInt32, _ shape: ServerSession.Shape) {
    connection.touch()
    do throws(RPCError) {
      if let timeout = call.timeout, timeout <= .zero { throw .deadlineExceeded }
      let method = try method(of: call)
      switch (method.handler, shape) {
      case (.unary, .open): throw .oneMessageExpected
      case (.unary(let body), _): start(call, stream: stream, method, body)
      case (.streaming, .unary): throw .streamExpected
      case (.streaming(let kind, let body), _):
        start(TTRPCStream(id: stream, kind), method, call, isOpen: shape == .open, body)
      }
    } catch {
      answer(.failure(error), stream: stream)
    }
  }

  private func method(of call: Call) throws(RPCError) -> Method {
    if let last = lastMethod, last.name.name == call.method, last.name.service == call.service { return last }
    let method = try dispatcher.method(service: call.service, name: call.method)
    lastMethod = method
    return method
  }

  private func start(
    _ call: Call, stream: UInt32, _ method: Method,
    _ body: @escaping @Sendable (CallContext, RPCMessage, Completion<Response>) -> Cancellation
  ) {
    let context = CallContext(metadata: call.metadata, peer: connection, bytes: call.bytes)
    let message = RPCMessage(bytes: call.payload, wasCompressed: false)
    runner.run(method, context, timeout: call.timeout) {
      body($0, message, $1)
    } answer: { [self] response in
      answer(response.reply, stream: stream)
    }
  }

  private func answer(_ reply: Reply, stream: UInt32) {
    finish(stream: stream) { [self] in write(reply, stream: stream, $0) }
  }

  /// The call has ended: sends its last frame, and goes on with what waited for that.
  func finish(stream: UInt32, _ last: (ChannelHandlerContext) -> Void) {
    session.finished(stream: stream)
    guard let context else { return }
    last(context)
    proceed(context)
    releaseHeldRead(context)
    endIfDrained(context)
  }

  /// A message that a stream received was taken.
  func taken(_ bytes: Int, stream: UInt32) {
    guard bytes > 0 else { return }
    session.taken(bytes, stream: stream)
    guard let context else { return }
    proceed(context)
    releaseHeldRead(context)
  }

  private func releaseHeldRead(_ context: ChannelHandlerContext) {
    guard isReadHeld, !session.isFull, !runner.isFull, context.channel.isWritable else { return }
    isReadHeld = false
    context.read()
  }

  /// Closes a connection whose frame has begun and does not come to its end.
  private func watchFrame(_ context: ChannelHandlerContext) {
    guard frameTimer == nil, session.isMidFrame else { return }
    let begun = session.framesRead
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    frameTimer = context.eventLoop.scheduleTask(in: .seconds(Limits.frameSecondsMax)) {
      let (handler, context) = bound.value
      handler.frameTimer = nil
      let isStuck = handler.session.isMidFrame && handler.session.framesRead == begun && !handler.session.isFull
      if isStuck {
        handler.logger.info("closing a connection", metadata: ["reason": "a frame took too long"])
        context.close(promise: nil)
      } else {
        handler.watchFrame(context)
      }
    }
  }

  // MARK: Out

  func write(_ reply: Reply, stream: UInt32, _ context: ChannelHandlerContext) {
    var frame = Envelope.frame(reply, stream: stream)
    if frame.count - FrameHeader.bytes > Limits.frameBytesMax {
      // Old Go clients do not survive more.
      frame = Envelope.frame(.failure(.messageTooLarge(bytes: frame.count)), stream: stream)
    }
    write(frame, context)
  }

  /// Sends a frame together with the others of this turn of the loop.
  func write(_ frame: [UInt8], _ context: ChannelHandlerContext) {
    if unsent.capacity == 0 { unsent.reserveCapacity(1024) }
    unsent.writeBytes(frame)
    writtenBytes += frame.count
    if unsent.readableBytes >= Self.unsentBytesMax {
      send(context)
      lookAtUnread(context)
    }
    guard !isFlushDue else { return }
    isFlushDue = true
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    context.eventLoop.execute {
      let (handler, context) = bound.value
      handler.isFlushDue = false
      handler.send(context)
      handler.lookAtUnread(context)
      handler.endIfDrained(context)
    }
  }

  /// Sends a frame behind those of this turn of the loop, and tells when the socket has taken it.
  func write(
    _ frame: [UInt8], _ context: ChannelHandlerContext, done: @escaping @Sendable (Result<Void, RPCError>) -> Void
  ) {
    send(context)
    writtenBytes += frame.count
    let written = context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: frame)))
    written.whenComplete { done($0.mapError { _ in .cancelled }) }
    lookAtUnread(context)
  }

  /// From so many bytes on, answers do not wait for others.
  private static let unsentBytesMax = 65_536

  private func send(_ context: ChannelHandlerContext) {
    guard unsent.readableBytes > 0 else { return }
    let answers = unsent
    unsent = ByteBuffer()
    guard answers.readableBytes >= Self.unsentBytesMax else {
      return context.writeAndFlush(wrapOutboundOut(answers), promise: nil)
    }
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(answers)).whenComplete { _ in
      let (handler, context) = bound.value
      handler.lookAtUnread(context)
    }
  }

  /// A peer that asks and does not read must not fill our memory.
  private func lookAtUnread(_ context: ChannelHandlerContext) {
    guard context.channel.isActive, unread.bytes > 0 || !context.channel.isWritable else { return }
    unread.set(unreadBytes(context))
    if unread.isTooMuch { closeUnread(context) } else { runner.startWaiting() }
  }

  private func unreadBytes(_ context: ChannelHandlerContext) -> Int {
    unsent.readableBytes + ((try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0)
  }

  private func closeUnread(_ context: ChannelHandlerContext) {
    logger.info(
      "closing a connection", metadata: ["reason": "\(unreadBytes(context)) bytes of responses are not read"])
    context.close(promise: nil)
  }

  // MARK: Its end

  /// From time to time: what is due.
  private func look(_ context: ChannelHandlerContext) {
    lookAtUnread(context)
    // Nor may a peer keep even a little of our memory for ever.
    let unread = unreadBytes(context)
    let stalled = stallWatch.stalled(isWaiting: unread > 0, moved: writtenBytes - unread, at: clock.now)
    if stalled >= unreadResponseTimeout { return closeUnread(context) }
    if unread > 0 || session.callsInFlight > 0 { connection.noteUse() }
    let isIdle = session.callsInFlight == 0 && !connection.isKnown
    if idleWatch.stalled(isWaiting: isIdle, moved: session.framesRead, at: clock.now) >= strangerIdleTime {
      logger.info("closing a connection", metadata: ["reason": "it is idle, and made no call with a valid token"])
      send(context)
      edge.end()
    }
  }

  /// A drained connection ends when its peer has sent nothing for a moment, for what it sends until it knows of
  /// the drain is answered too.
  private func endIfDrained(_ context: ChannelHandlerContext) {
    guard var drain, session.callsInFlight == 0, !isFlushDue, !edge.isEnding else { return }
    let idleSince = drain.idleSince ?? context.eventLoop.now
    let end = min(
      drain.lastRead + .milliseconds(Limits.drainQuietMilliseconds), idleSince + .seconds(Limits.lingerSecondsMax))
    drain.idleSince = idleSince
    drain.timer?.cancel()
    drain.timer = nil
    if context.eventLoop.now < end {
      let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
      drain.timer = context.eventLoop.scheduleTask(deadline: end) {
        let (handler, context) = bound.value
        handler.endIfDrained(context)
      }
    } else {
      send(context)
      edge.end()
    }
    self.drain = drain
  }
}
