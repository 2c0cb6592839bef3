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

  private let methods: any GRPCMethods
  private let runner: CallRunner<GRPCResponse>
  private let unreadAnswerTimeout: Duration
  private let logger: Logger
  private var life: ConnectionLife
  private let lookInterval: TimeAmount
  private var streams: [HTTP2StreamID: GRPCStream] = [:]
  private var lastStream = HTTP2StreamID.rootStream
  private var streamsEver = 0
  private var context: ChannelHandlerContext?
  /// A connection may end while its handlers are being set up; then HTTP/2's is gone already.
  private var isActive = false
  private var isReadHeld = false
  private var isFlushDue = false
  /// Of requests not yet complete.
  private var bufferedBytes = 0
  /// Of answers that the peer's windows have not taken.
  private var unreadBytes = 0
  /// How often the peer's windows have taken a part of an answer, or its end.
  private var answerMoves = 0
  private var stallWatch = StallWatch()
  /// How often something was read.
  private var reads = 0
  private var sweep: RepeatedTask?

  /// - Parameter unreadAnswerTimeout: how long answers may wait for the peer's windows without moving.
  init(
    methods: any GRPCMethods, runner: CallRunner<GRPCResponse>, configuration: GRPCConnectionConfiguration,
    unreadAnswerTimeout: Duration, logger: Logger
  ) {
    self.methods = methods
    self.runner = runner
    self.unreadAnswerTimeout = unreadAnswerTimeout
    self.logger = logger
    self.life = ConnectionLife(configuration, at: .now)
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
    for stream in streams.values { stream.inbox?.finish(.failure(.cancelled)) }
    streams.removeAll()
    runner.cancelAll()
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
    case .ping(let data, ack: true): perform(life.acknowledged(data.integer, at: .now), context)
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
    closeIfEnded(context)
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case let event as StreamClosedEvent:
      answerMoves += 1
      if let stream = streams.removeValue(forKey: event.streamID) { closed(stream) }
      closeIfEnded(context)
    case is ChannelShouldQuiesceEvent:
      perform(life.drain(at: .now), context)
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.eventLoop.scheduleTask(in: .seconds(Limits.drainSecondsMax)) { bound.value.close(promise: nil) }
    default: break
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// The peer or we have used a window, or the peer has widened ours.
  func windowUpdated(_ event: NIOHTTP2WindowUpdatedEvent) {
    guard event.streamID != .rootStream else {
      if let size = event.inboundWindowSize { replenishConnection(windowBytes: size) }
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
    let stream = GRPCStream(id: id)
    streams[id] = stream
    lastStream = id
    streamsEver += 1
    do throws(GRPCRequestHead.Refusal) {
      let head = try GRPCRequestHead(headers.headers.lazy.map { ($0.name, $0.value) })
      guard let method = methods.method(service: head.service, name: head.method) else {
        throw .rpc(.methodUnknown(service: head.service, method: head.method))
      }
      stream.open(head, method)
    } catch {
      if headers.endStream { stream.isRequestEnded = true }
      refuse(stream, error)
      return
    }
    if case .streaming(let requestsMax, let body) = stream.method { start(stream, requestsMax, body) }
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
          return answer(stream, GRPCResponse(.failure(.wrongMessageCount)))
        }
        stream.messageCount += 1
        if let inbox = stream.inbox { inbox.add(message) } else { stream.message = message }
      }
    } catch {
      return answer(stream, GRPCResponse(.failure(RPCError(error))))
    }
    count(unfinished: stream.heldBytes, of: stream)
    guard bufferedBytes <= 2 * Limits.callBytesInFlightPerConnectionMax else {
      return answer(
        stream, GRPCResponse(.failure(.overloaded("the unfinished requests of this connection are too large"))))
    }
    if data.endStream { end(stream) }
  }

  /// The peer sends no more on this stream.
  private func end(_ stream: GRPCStream) {
    stream.isRequestEnded = true
    guard !stream.isAnswered else { return }
    guard stream.decoder.bufferedBytes == 0 else {
      return answer(stream, GRPCResponse(.failure(RPCError(.malformed("the request ended within a message")))))
    }
    if let inbox = stream.inbox {
      return inbox.finish(
        stream.messageCount == 0 && stream.requestsMax == 1 ? .failure(.wrongMessageCount) : .success(()))
    }
    guard let message = stream.message, let head = stream.head else {
      return answer(stream, GRPCResponse(.failure(.wrongMessageCount)))
    }
    stream.message = nil
    count(unfinished: 0, of: stream)
    let call = Call(
      service: head.service, method: head.method, metadata: head.metadata, timeout: head.timeout,
      payload: message.bytes)
    stream.call = runner.run(timeout: stream.timeLeft, bytes: call.bytes) {
      switch stream.method {
      case .unary(let method): method(call).map { GRPCResponse($0) }
      case .unaryWithMetadata(let method): .working { await method(GRPCRequest(head: head, message: message)) }
      case .streaming, nil: .replied(GRPCResponse(.failure(.wrongMessageCount)))
      }
    } answer: { [self] in
      answer(stream, $0)
    }
  }

  private func start(
    _ stream: GRPCStream, _ requestsMax: Int,
    _ body: @escaping @Sendable (GRPCRequestHead, GRPCRequestMessages, GRPCResponseMessages) async -> GRPCResponse
  ) {
    guard let context, let head = stream.head else { return }
    let inbox = GRPCInbox()
    inbox.onTake = { [self] in
      if !stream.isAnswered { count(unfinished: stream.heldBytes, of: stream) }
      if stream.windowBytes <= Self.streamWindowBytes / 2 { replenish(stream, windowBytes: stream.windowBytes) }
    }
    stream.inbox = inbox
    stream.requestsMax = requestsMax
    let requests = GRPCRequestMessages(inbox: NIOLoopBound(inbox, eventLoop: context.eventLoop))
    let outlet = StreamOutlet(handler: self, stream: stream)
    let responses = GRPCResponseMessages(outlet: NIOLoopBound(outlet, eventLoop: context.eventLoop))
    stream.call = runner.run(timeout: head.timeout, isBounded: false, bytes: 0) {
      .working { await body(head, requests, responses) }
    } answer: { [self] in
      answer(stream, $0)
    }
  }

  /// Keeps the sum of what unfinished requests hold.
  private func count(unfinished bytes: Int, of stream: GRPCStream) {
    bufferedBytes += bytes - stream.countedBytes
    stream.countedBytes = bytes
  }

  /// Opens the connection's window again when it has shrunk to its half.
  private func replenishConnection(windowBytes: Int) {
    if windowBytes <= Self.connectionWindowBytes / 2 {
      write(.rootStream, .windowUpdate(windowSizeIncrement: Self.connectionWindowBytes - windowBytes))
    }
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
    for stream in streams.values where stream.call == nil && !stream.isAnswered && stream.timeLeft <= .zero {
      answer(stream, GRPCResponse(.failure(.deadlineExceeded)))
    }
  }

  // MARK: Its end

  /// From time to time: what is due.
  private func look(_ context: ChannelHandlerContext) {
    endStaleRequests()
    closeIfEnded(context)
    let now = ContinuousClock.now
    // A peer that opens no window for what it asked for may not keep it for ever.
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
      write(.rootStream, .goAway(lastStreamID: .maxID, errorCode: .noError, opaqueData: nil))
      write(.rootStream, .ping(HTTP2PingData(withInteger: data), ack: false))
    case .end:
      write(.rootStream, .goAway(lastStreamID: lastStream, errorCode: .noError, opaqueData: nil))
      closeIfEnded(context)
    case .close(let reason):
      logger.info("closing a connection", metadata: ["reason": "\(reason)"])
      context.close(promise: nil)
    case nil: break
    }
  }

  /// Closes once the last stream is answered and all of it is out.
  private func closeIfEnded(_ context: ChannelHandlerContext) {
    guard life.isEnding, streams.isEmpty else { return }
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    // After the flush of this turn.
    context.eventLoop.execute {
      let (handler, context) = bound.value
      let unsent = try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)
      if handler.streams.isEmpty, unsent ?? 0 == 0 { context.close(promise: nil) }
    }
  }

  /// The stream has ended on both sides, or was reset.
  private func closed(_ stream: GRPCStream) {
    stream.isAnswered = true
    count(unfinished: 0, of: stream)
    if let call = stream.call { runner.cancel(call) }
    stream.inbox?.finish(.failure(.cancelled))
  }

  // MARK: Out

  private func refuse(_ stream: GRPCStream, _ refusal: GRPCRequestHead.Refusal) {
    switch refusal {
    case .http(let status):
      stream.isAnswered = true
      write(stream.id, .headers(.init(headers: [":status": "\(status)"], endStream: true)))
      reset(stream)
    case .rpc(let error): answer(stream, GRPCResponse(.failure(error)))
    case .encoding(let error):
      var response = GRPCResponse(.failure(error))
      response.trailingMetadata.add("grpc-accept-encoding", GRPCRequestHead.acceptEncoding)
      answer(stream, response)
    }
  }

  /// Ends the call. Nothing is sent on the stream afterwards.
  private func answer(_ stream: GRPCStream, _ response: GRPCResponse) {
    guard !stream.isAnswered else { return }
    stream.isAnswered = true
    count(unfinished: 0, of: stream)
    if let call = stream.call { runner.cancel(call) }
    switch response.reply {
    case .success(let payload):
      if stream.inbox == nil {
        guard payload.count <= Limits.frameBytesMax else {
          stream.isAnswered = false
          stream.call = nil
          return answer(stream, GRPCResponse(.failure(.messageTooLarge(bytes: payload.count))))
        }
        sendInitial(stream, response.initialMetadata)
        send(payload, compress: response.compress, on: stream, promise: nil)
      } else {
        sendInitial(stream, response.initialMetadata)
      }
      sendTrailers(stream, Self.okTrailers, response.trailingMetadata)
    case .failure(let error):
      var trailers = stream.isInitialSent ? HPACKHeaders() : Self.initialHeaders
      if !stream.isInitialSent { trailers.add(response.initialMetadata) }
      trailers.add(error)
      sendTrailers(stream, trailers, response.trailingMetadata)
    }
    stream.inbox?.finish(.failure(.cancelled))
    reset(stream)
  }

  /// Tells a peer that still sends that nobody listens (RFC 9113, section 8.1).
  private func reset(_ stream: GRPCStream) {
    if !stream.isRequestEnded { write(stream.id, .rstStream(.noError)) }
  }

  fileprivate func sendInitial(_ stream: GRPCStream, _ metadata: Metadata) {
    guard !stream.isInitialSent else { return }
    stream.isInitialSent = true
    var headers = Self.initialHeaders
    if let encoding = stream.answerEncoding { headers.add(name: "grpc-encoding", value: encoding.rawValue) }
    headers.add(metadata)
    write(stream.id, .headers(.init(headers: headers)))
  }

  /// Too small a message is not worth compressing.
  private static let compressedBytesMin = 1024

  fileprivate func send(
    _ message: [UInt8], compress: Bool?, on stream: GRPCStream, promise: EventLoopPromise<Void>?
  ) {
    let isWorthIt = compress ?? (message.count >= Self.compressedBytesMin)
    let framed = GRPCMessageDecoder.encode(message, compression: isWorthIt ? stream.answerEncoding : nil)
    write(stream.id, .data(.init(data: .byteBuffer(ByteBuffer(bytes: framed)))), promise: count(framed.count, promise))
  }

  /// Large answers are counted until the peer has taken them: one that asks and does not read must not
  /// fill our memory.
  private func count(_ bytes: Int, _ promise: EventLoopPromise<Void>?) -> EventLoopPromise<Void>? {
    guard let context, bytes >= 16_384 else { return promise }
    unreadBytes += bytes
    if unreadBytes > 4 * Limits.unreadAnswerBytesPerConnectionMax {
      logger.info("closing a connection", metadata: ["reason": "\(unreadBytes) bytes of answers are not read"])
      context.close(promise: nil)
    }
    let promise = promise ?? context.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    promise.futureResult.whenComplete { _ in bound.value.unreadBytes -= bytes }
    return promise
  }

  private func sendTrailers(_ stream: GRPCStream, _ trailers: HPACKHeaders, _ metadata: Metadata) {
    var trailers = trailers
    trailers.add(metadata)
    write(stream.id, .headers(.init(headers: trailers, endStream: true)))
  }

  private static let initialHeaders: HPACKHeaders = [":status": "200", "content-type": "application/grpc"]
  private static let okTrailers: HPACKHeaders = ["grpc-status": "0"]

  private func write(
    _ id: HTTP2StreamID, _ payload: HTTP2Frame.FramePayload, promise: EventLoopPromise<Void>? = nil
  ) {
    guard let context, isActive else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    context.write(wrapOutboundOut(HTTP2Frame(streamID: id, payload: payload)), promise: promise)
    // One flush for all the frames of this turn of the loop.
    guard !isFlushDue else { return }
    isFlushDue = true
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    context.eventLoop.execute {
      let (handler, context) = bound.value
      handler.isFlushDue = false
      context.flush()
    }
  }
}

/// One stream of a gRPC connection.
private final class GRPCStream {
  let id: HTTP2StreamID
  let opened = ContinuousClock.now
  var head: GRPCRequestHead?
  var method: GRPCMethod?
  var decoder = GRPCMessageDecoder(compression: nil, bytesMax: Limits.frameBytesMax)
  var requestsMax = 1
  var messageCount = 0
  /// What the connection counts of an unfinished request.
  var countedBytes = 0
  /// Of a unary request, until it is complete.
  var message: GRPCMessage?
  /// Of a streaming request.
  var inbox: GRPCInbox?
  var call: RunningCall<GRPCResponse>?
  var windowBytes = GRPCHandler.streamWindowBytes
  /// What the peer may be sent on this stream, as last told.
  var answerWindowBytes: Int?
  /// Of a streaming response, those the peer's windows have not taken.
  var messagesWaiting = 0
  /// The peer has sent its last frame.
  var isRequestEnded = false
  var isInitialSent = false
  /// The call's end was sent, or the stream is gone.
  var isAnswered = false

  init(id: HTTP2StreamID) {
    self.id = id
  }

  func open(_ head: GRPCRequestHead, _ method: GRPCMethod) {
    self.head = head
    self.method = method
    decoder = GRPCMessageDecoder(compression: head.encoding, bytesMax: Limits.frameBytesMax)
  }

  /// Something was written that the peer's windows have not taken: an end that they have is the stream's.
  var isAnswerWaiting: Bool { isAnswered || messagesWaiting > 0 }

  /// Of requests not complete or not taken, as large as they are when decompressed.
  var heldBytes: Int { decoder.bufferedBytes + (message?.bytes.count ?? 0) + (inbox?.bytes ?? 0) }

  /// Of the caller's deadline, and of the longest a call may take.
  var timeLeft: Duration {
    let longest = Duration.seconds(Limits.callSecondsMax)
    return min(head?.timeout ?? longest, longest) - (.now - opened)
  }

  /// The caller's own encoding, where it takes answers in it too.
  var answerEncoding: Compression? {
    guard let head, let encoding = head.encoding else { return nil }
    return head.accepts?.contains(encoding) ?? true ? encoding : nil
  }
}

/// Sends the messages of one streaming response.
private struct StreamOutlet: GRPCOutlet {
  let handler: GRPCHandler
  let stream: GRPCStream

  func setInitialMetadata(_ metadata: Metadata) {
    if !stream.isAnswered { handler.sendInitial(stream, metadata) }
  }

  func send(_ message: [UInt8], compress: Bool?, done: @escaping @Sendable (Result<Void, RPCError>) -> Void) {
    guard !stream.isAnswered, let promise = handler.makePromise() else { return done(.failure(.cancelled)) }
    handler.sendInitial(stream, Metadata())
    stream.messagesWaiting += 1
    let bound = NIOLoopBound(stream, eventLoop: promise.futureResult.eventLoop)
    promise.futureResult.whenComplete {
      bound.value.messagesWaiting -= 1
      done($0.map { _ in }.mapError { _ in .cancelled })
    }
    handler.send(message, compress: compress, on: stream, promise: promise)
  }
}

extension GRPCHandler {
  fileprivate func makePromise() -> EventLoopPromise<Void>? {
    context?.eventLoop.makePromise(of: Void.self)
  }
}

extension HPACKHeaders {
  fileprivate mutating func add(_ metadata: Metadata) {
    for entry in metadata.entries { add(name: entry.key, value: entry.value) }
  }

  /// gRPC over HTTP2, Trailers: the same details as on ttRPC, in `grpc-status-details-bin`.
  fileprivate mutating func add(_ error: RPCError) {
    add(name: "grpc-status", value: String(error.code.rawValue))
    add(name: "grpc-message", value: GRPCStatusMessage.encode(error.message))
    add(name: "grpc-status-details-bin", value: Base64.encode(error.encodedStatus()))
  }
}

extension RPCError {
  /// gRPC's statuscodes.md: a wrong number of messages is UNIMPLEMENTED.
  fileprivate static let wrongMessageCount = RPCError(
    .unimplemented, .messageCountWrong, "the method takes exactly one message")
}
