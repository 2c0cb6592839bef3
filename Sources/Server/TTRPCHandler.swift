import Domain
import Logging
import NIOCore
import NIOExtras
import Wire

/// Runs one ttRPC connection: moves bytes between the channel and its `ServerSession`, and does what
/// the session says.
final class TTRPCHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = Never
  typealias OutboundOut = ByteBuffer

  private var session = ServerSession()
  private let dispatcher: Dispatcher
  private let runner: CallRunner<Reply>
  private let unreadAnswerTimeout: Duration
  private let logger: Logger
  private var context: ChannelHandlerContext?
  private var isProceeding = false
  private var isReadHeld = false
  /// Answers that go out together when this turn of the loop ends.
  private var unsent = ByteBuffer()
  private var isFlushDue = false
  private var frameTimer: Scheduled<Void>?
  private var writtenBytes = 0
  private var stallWatch = StallWatch()
  private var sweep: RepeatedTask?

  /// - Parameter unreadAnswerTimeout: how long answers may wait for the peer without moving.
  init(dispatcher: Dispatcher, runner: CallRunner<Reply>, unreadAnswerTimeout: Duration, logger: Logger) {
    self.dispatcher = dispatcher
    self.runner = runner
    self.unreadAnswerTimeout = unreadAnswerTimeout
    self.logger = logger
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    let interval = TimeAmount(min(.seconds(5), unreadAnswerTimeout / 4))
    sweep = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
      let (handler, context) = bound.value
      handler.closeIfStalled(context)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    sweep?.cancel()
    self.context = nil
  }

  // MARK: In

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    unwrapInboundIn(data).withUnsafeReadableBytes { session.receive($0) }
    proceed(context)
  }

  /// Reads while answers are being taken and calls are being done, no further.
  func read(context: ChannelHandlerContext) {
    if session.isFull || !context.channel.isWritable {
      isReadHeld = true
    } else {
      context.read()
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    releaseHeldRead(context)
    context.fireChannelWritabilityChanged()
  }

  func channelInactive(context: ChannelHandlerContext) {
    frameTimer?.cancel()
    runner.cancelAll()
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    logger.debug("closing a connection", metadata: ["reason": "\(error)"])
    context.close(promise: nil)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent {
      session.isDraining = true
      closeIfDrained(context)
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
      case .start(let call, let stream):
        runner.run(timeout: call.timeout, bytes: call.bytes) {
          dispatcher.begin(call)
        } answer: { [self] reply in
          session.finished(stream: stream)
          guard let context = self.context else { return }
          write(reply, stream: stream, context)
          proceed(context)
          releaseHeldRead(context)
          closeIfDrained(context)
        }
      case .answer(let error, let stream):
        write(.failure(error), stream: stream, context)
      case .close(let reason):
        logger.info("closing a connection", metadata: ["reason": "\(reason)"])
        return closeWhenSent(context)
      }
    }
    watchFrame(context)
  }

  private func releaseHeldRead(_ context: ChannelHandlerContext) {
    guard isReadHeld, !session.isFull, context.channel.isWritable else { return }
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

  private func write(_ reply: Reply, stream: UInt32, _ context: ChannelHandlerContext) {
    var frame = Envelope.frame(reply, stream: stream)
    if frame.count - FrameHeader.bytes > Limits.frameBytesMax {
      // Old Go clients do not survive more.
      frame = Envelope.frame(.failure(.messageTooLarge(bytes: frame.count)), stream: stream)
    }
    if unsent.capacity == 0 { unsent.reserveCapacity(1024) }
    unsent.writeBytes(frame)
    writtenBytes += frame.count
    if unsent.readableBytes >= Self.unsentBytesMax {
      send(context)
      closeIfUnread(context)
    }
    guard !isFlushDue else { return }
    isFlushDue = true
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    context.eventLoop.execute {
      let (handler, context) = bound.value
      handler.isFlushDue = false
      handler.send(context)
      handler.closeIfUnread(context)
      handler.closeIfDrained(context)
    }
  }

  /// From so many bytes on, answers do not wait for others.
  private static let unsentBytesMax = 65_536

  private func send(_ context: ChannelHandlerContext) {
    guard unsent.readableBytes > 0 else { return }
    let answers = unsent
    unsent = ByteBuffer()
    context.writeAndFlush(wrapOutboundOut(answers), promise: nil)
  }

  /// A peer that asks and does not read must not fill our memory.
  private func closeIfUnread(_ context: ChannelHandlerContext) {
    guard !context.channel.isWritable else { return }
    let unread = unreadBytes(context)
    if unread > Limits.unreadAnswerBytesPerConnectionMax { closeUnread(unread, context) }
  }

  /// Nor may it keep even a little of it for ever.
  private func closeIfStalled(_ context: ChannelHandlerContext) {
    let unread = unreadBytes(context)
    let stalled = stallWatch.stalled(isWaiting: unread > 0, moved: writtenBytes - unread, at: .now)
    if stalled >= unreadAnswerTimeout { closeUnread(unread, context) }
  }

  private func unreadBytes(_ context: ChannelHandlerContext) -> Int {
    unsent.readableBytes + ((try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0)
  }

  private func closeUnread(_ bytes: Int, _ context: ChannelHandlerContext) {
    logger.info("closing a connection", metadata: ["reason": "\(bytes) bytes of answers are not read"])
    context.close(promise: nil)
  }

  private func closeIfDrained(_ context: ChannelHandlerContext) {
    guard session.isDraining, session.callsInFlight == 0, !isFlushDue else { return }
    closeWhenSent(context)
  }

  /// Closes once the peer has taken all that was written.
  private func closeWhenSent(_ context: ChannelHandlerContext) {
    send(context)
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in bound.value.close(promise: nil) }
  }
}
