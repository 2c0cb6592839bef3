import Domain
import Logging
import NIOCore
import NIOExtras
import NIOHPACK
import NIOHTTP2
import Wire

/// Runs one gRPC connection over the frames of swift-nio-http2: requests in, calls run, answers out.
///
/// It works on the connection's frames itself, without a channel for each stream, which is what makes
/// a small call cheap. So it also keeps the windows: it gives a stream's window back when its bytes
/// were taken, which is the back-pressure of streaming requests.
final class GRPCHandler: ChannelDuplexHandler {
  typealias InboundIn = HTTP2Frame
  typealias OutboundIn = Never
  typealias OutboundOut = HTTP2Frame

  /// What the peer may send unasked on a stream, and on the connection.
  static let streamWindowBytes = 256 * 1024
  private static let connectionWindowBytes = 4 * 1024 * 1024

  private let dispatcher: Dispatcher
  let runner: CallRunner
  let unread: UnreadResponses
  private let unfinished: UnfinishedRequests
  private let edge: ConnectionEdge
  private let connection: AcceptedConnection
  private let unreadAnswerTimeout: Duration
  let logger: Logger
  private let clock: LoopClock
  private var life: ConnectionLife
  private let lookInterval: TimeAmount
  private(set) var streams: [HTTP2StreamID: GRPCStream] = [:]
  /// The last one that was taken.
  private var lastStream = HTTP2StreamID.rootStream
  private var streamsEver = 0
  private(set) var context: ChannelHandlerContext?
  /// A connection may end while its handlers are being set up; then HTTP/2's is gone already.
  private(set) var isActive = false
  private var isReadHeld = false
  var isFlushDue = false
  /// Of requests not yet complete.
  private var bufferedBytes = 0
  /// The server has room for them.
  private var hasRoom = true
  /// What the peer may send on the connection, as last told.
  private var windowBytes = GRPCHandler.connectionWindowBytes
  /// How often the peer's windows have taken a part of an answer. An answer without a message needs no window.
  private var answerMoves = 0
  private var stallWatch = StallWatch()
  /// How often something was read.
  private var reads = 0
  private var sweep: RepeatedTask?

  /// - Parameter unreadAnswerTimeout: how long answers may wait for the peer's windows without moving.
  init(
    dispatcher: Dispatcher, runner: CallRunner, unread: UnreadResponses, unfinished: UnfinishedRequests,
    edge: ConnectionEdge, connection: AcceptedConnection, configuration: GRPCConnectionConfiguration,
    unreadAnswerTimeout: Duration, loop: any EventLoop, logger: Logger
  ) {
    self.dispatcher = dispatcher
    self.runner = runner
    self.unread = unread
    self.unfinished = unfinished
    self.edge = edge
    self.connection = connection
    self.unreadAnswerTimeout = unreadAnswerTimeout
    self.logger = logger
    self.clock = LoopClock(loop)
    self.life = ConnectionLife(configuration, at: clock.now)
    self.lookInterval = TimeAmount(min(.seconds(5), unreadAnswerTimeout / 4, configuration.lookInterval))
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    isActive = context.channel.isActive
    // RFC 9113, section 6.9.2: a connection's window is widened by a frame, not by a setting.
    let increment = Self.connectionWindowBytes - 65_535
    write(.rootStream, .windowUpdate(windowSizeIncrement: increment))
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    sweep = context.eventLoop.scheduleRepeatedTask(initialDelay: lookInterval, delay: lookInterval) { _ in
      let (handler, context) = bound.value
      handler.look(context)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    sweep?.cancel()
    self.context = nil
  }

  func channelInactive(context: ChannelHandlerContext) {
    isActive = false
    for stream in streams.values { stream.inbox?.close() }
    streams.removeAll()
    runner.cancelAll()
    unread.end()
    _ = unfinished.hold(0)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // swift-nio-http2 has told the peer already where the protocol asks for it.
    logger.debug("closing a connection", metadata: ["reason": "\(error)"])
    context.close(promise: nil)
  }

  // MARK: In

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    switch frame.payload {
    case .headers(let headers):
      if let stream = streams[frame.streamID] {
        if headers.endStream { end(stream) }
      } else {
        open(frame.streamID, headers)
      }
    case .data(let data):
      if let stream = streams[frame.streamID] { receive(data, on: stream) }
    case .ping(let data, ack: true): perform(life.acknowledged(data.integer), context)
    default: break
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    reads += 1
    context.fireChannelReadComplete()
  }

  /// Reads while answers are being taken, no further.
  func read(context: ChannelHandlerContext) {
    if context.channel.isWritable { context.read() } else { isReadHeld = true }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if isReadHeld, context.channel.isWritable {
      isReadHeld = false
      context.read()
    }
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case let event as StreamClosedEvent:
      if let stream = streams.removeValue(forKey: event.streamID) { closed(stream) }
      endIfAnswered(context)
    case is ChannelShouldQuiesceEvent:
      perform(life.drain(at: clock.now), context)
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.eventLoop.scheduleTask(in: .seconds(Limits.drainSecondsMax)) { bound.value.close(promise: nil) }
    default: break
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// The peer or we have used a window, or the peer has widened ours.
  func windowUpdated(_ event: NIOHTTP2WindowUpdatedEvent) {
    guard event.streamID != .rootStream else {
      if let size = event.inboundWindowSize {
        windowBytes = size
        replenishConnection()
      }
      return
    }
    guard let stream = streams[event.streamID] else { return }
    if let size = event.inboundWindowSize { replenish(stream, windowBytes: size) }
    if let size = event.outboundWindowSize {
      if let before = stream.answerWindowBytes, size < before { answerMoves += 1 }
      stream.answerWindowBytes = size
    }
  }

  private func open(_ id: HTTP2StreamID, _ headers: HTTP2Frame.FramePayload.Headers) {
    // The peer knows that it may try such a call again elsewhere (RFC 9113, section 8.7).
    guard !life.isEnding else { return write(id, .rstStream(.refusedStream)) }
    connection.isActive()
    let stream = GRPCStream(id: id, opened: clock.now)
    streams[id] = stream
    lastStream = id
    streamsEver += 1
    do throws(GRPCRequestHead.Refusal) {
      let head = try GRPCRequestHead(headers.headers.lazy.map { ($0.name, $0.value) })
      do throws(RPCError) {
        stream.open(head, try dispatcher.method(service: head.service, name: head.method))
      } catch {
        throw .rpc(error)
      }
    } catch {
      if headers.endStream { stream.isRequestEnded = true }
      refuse(stream, error)
      return
    }
    if let method = stream.method, case .streaming(let streams, let body) = method.handler {
      start(stream, method, requestsMax: streams.requestsMax, body)
    }
    if headers.endStream { end(stream) }
  }

  private func receive(_ data: HTTP2Frame.FramePayload.Data, on stream: GRPCStream) {
    guard case .byteBuffer(let buffer) = data.data, !stream.isAnswered else {
      if data.endStream { stream.isRequestEnded = true }
      return
    }
    stream.decoder.append(buffer.readableBytesView)
    do throws(GRPCStreamError) {
      while let message = try stream.decoder.next() {
        guard stream.messageCount < stream.requestsMax else {
          return answer(stream, Response(.wrongMessageCount))
        }
        stream.messageCount += 1
        // A method that takes exactly one begins when it is known that there is no other.
        if let inbox = stream.inbox, stream.requestsMax > 1 { inbox.add(message) } else { stream.message = message }
      }
    } catch {
      return answer(stream, Response(RPCError(error)))
    }
    count(unfinished: stream.heldBytes, of: stream)
    guard bufferedBytes <= 2 * Limits.callBytesInFlightPerConnectionMax else {
      return answer(
        stream, Response(.overloaded("the unfinished requests of this connection are too large")))
    }
    guard hasRoom else {
      return answer(stream, Response(.overloaded("the server has no room for requests that have begun")))
    }
    if data.endStream { end(stream) }
  }

  /// The peer sends no more on this stream.
  private func end(_ stream: GRPCStream) {
    stream.isRequestEnded = true
    guard !stream.isAnswered else { return }
    guard stream.decoder.bufferedBytes == 0 else {
      return answer(stream, Response(RPCError(.malformed("the request ended within a message"))))
    }
    if let inbox = stream.inbox {
      if let message = stream.message {
        stream.message = nil
        inbox.add(message)
      }
      return inbox.finish(
        stream.messageCount == 0 && stream.requestsMax == 1 ? .failure(.wrongMessageCount) : .success(()))
    }
    guard let message = stream.message, let head = stream.head, let method = stream.method,
      case .unary(let body) = method.handler
    else {
      return answer(stream, Response(.wrongMessageCount))
    }
    stream.message = nil
    count(unfinished: 0, of: stream)
    let bytes = message.bytes.count + head.metadata.bytes + head.service.utf8.count + head.method.utf8.count
    let call = CallContext(metadata: head.metadata, peer: connection, bytes: bytes)
    stream.call = runner.run(method, call, timeout: stream.timeLeft(at: clock.now)) {
      body($0, message, $1)
    } answer: { [self] in
      answer(stream, $0)
      replenishConnection()
    }
  }

  private func start(
    _ stream: GRPCStream, _ method: Method, requestsMax: Int,
    _ body: @escaping @Sendable (CallContext, RequestStream, ResponseStream) async -> Response
  ) {
    guard let context, let head = stream.head else { return }
    let inbox = MessageInbox()
    // The stream keeps its inbox, and this handler the stream.
    inbox.onTake = { [unowned self, unowned stream] in
      if !stream.isAnswered { count(unfinished: stream.heldBytes, of: stream) }
      if stream.windowBytes <= Self.streamWindowBytes / 2 { replenish(stream, windowBytes: stream.windowBytes) }
    }
    stream.inbox = inbox
    stream.requestsMax = requestsMax
    let requests = RequestStream(inbox: NIOLoopBound(inbox, eventLoop: context.eventLoop))
    let outlet = StreamOutlet(handler: self, stream: stream)
    let responses = ResponseStream(outlet: NIOLoopBound(outlet, eventLoop: context.eventLoop))
    let call = CallContext(metadata: head.metadata, peer: connection)
    stream.call = runner.run(method, call, timeout: head.timeout, isBounded: false) { context, completion in
      completion.complete { await body(context, requests, responses) }
    } answer: { [self] in
      answer(stream, $0)
    }
  }

  /// Keeps the sum of what unfinished requests hold.
  func count(unfinished bytes: Int, of stream: GRPCStream) {
    bufferedBytes += bytes - stream.countedBytes
    stream.countedBytes = bytes
    hasRoom = unfinished.hold(bufferedBytes)
  }

  /// Opens the connection's window again when it has shrunk to its half; later, when the calls under way hold
  /// as much as they may.
  private func replenishConnection() {
    guard windowBytes <= Self.connectionWindowBytes / 2,
      runner.bytesInFlight < Limits.callBytesInFlightPerConnectionMax
    else { return }
    let increment = Self.connectionWindowBytes - windowBytes
    windowBytes = Self.connectionWindowBytes
    write(.rootStream, .windowUpdate(windowSizeIncrement: increment))
  }

  /// The same with a stream's, for bytes that were taken; not where it is gone, or takes no more.
  private func replenish(_ stream: GRPCStream, windowBytes: Int) {
    guard !stream.isRequestEnded, !stream.isAnswered else { return }
    stream.windowBytes = windowBytes
    guard windowBytes <= Self.streamWindowBytes / 2, stream.inbox?.isEmpty ?? true else { return }
    stream.windowBytes = Self.streamWindowBytes
    write(stream.id, .windowUpdate(windowSizeIncrement: Self.streamWindowBytes - windowBytes))
  }

  /// A unary request that is not complete when its time is up is answered so.
  private func endStaleRequests() {
    let now = clock.now
    for stream in streams.values
    where stream.call == nil && !stream.isAnswered && stream.timeLeft(at: now) <= .zero {
      answer(stream, Response(.deadlineExceeded))
    }
  }

  // MARK: Its end

  /// From time to time: what is due.
  private func look(_ context: ChannelHandlerContext) {
    endStaleRequests()
    endIfAnswered(context)
    let now = clock.now
    // A peer that opens no window for what it asked for may not keep it for ever.
    if !streams.isEmpty { connection.isInUse() }
    let waiting = streams.values.count { $0.isAnswerWaiting }
    if stallWatch.stalled(isWaiting: waiting > 0, moved: answerMoves, at: now) >= unreadAnswerTimeout {
      perform(.close(reason: "\(waiting) answers are not read"), context)
    } else {
      perform(life.look(reads: reads, streams: streams.count, streamsEver: streamsEver, at: now), context)
    }
  }

  private func perform(_ action: ConnectionLife.Action?, _ context: ChannelHandlerContext) {
    switch action {
    case .ping(let data): write(.rootStream, .ping(HTTP2PingData(withInteger: data), ack: false))
    case .announceEnd(let data):
      sendGoAway(last: .maxID)
      write(.rootStream, .ping(HTTP2PingData(withInteger: data), ack: false))
      let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
      context.eventLoop.scheduleTask(in: .seconds(Limits.goAwaySecondsMax)) {
        let (handler, context) = bound.value
        if handler.isActive { handler.look(context) }
      }
    case .end: endIfAnswered(context)
    case .close(let reason):
      logger.info("closing a connection", metadata: ["reason": "\(reason)"])
      context.close(promise: nil)
    case nil: break
    }
  }

  /// Says which stream was the last, and ends the connection, once no further is taken and all are answered.
  private func endIfAnswered(_ context: ChannelHandlerContext) {
    guard life.isEnding, streams.isEmpty, !edge.isEnding else { return }
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    // After the flush of this turn.
    context.eventLoop.execute {
      let (handler, context) = bound.value
      guard handler.isActive, handler.streams.isEmpty, !handler.edge.isEnding else { return }
      context.flush()
      handler.sendGoAway(last: handler.lastStream)
      handler.edge.end()
    }
  }

  /// Past swift-nio-http2, which ends the connection when DATA follows a stream that was opened before its peer knew
  /// of the GOAWAY. It goes on taking streams, and those that are too late are refused here.
  private func sendGoAway(last: HTTP2StreamID) {
    var frame = ByteBuffer()
    frame.writeBytes([0, 0, 8, 7, 0, 0, 0, 0, 0])
    frame.writeInteger(UInt32(last == .maxID ? Int(Int32.max) : Int(last)))
    frame.writeInteger(UInt32(0))
    edge.write(frame)
  }

  /// The stream has ended on both sides, or was reset.
  private func closed(_ stream: GRPCStream) {
    stream.isAnswered = true
    count(unfinished: 0, of: stream)
    if let call = stream.call { runner.cancel(call) }
    stream.inbox?.close()
    wasRead(stream.unreadBytes)
  }
}

extension RPCError {
  /// gRPC's statuscodes.md: a wrong number of messages is UNIMPLEMENTED.
  static let wrongMessageCount = RPCError(
    .unimplemented, .messageCountWrong, "the method takes exactly one message")
}
