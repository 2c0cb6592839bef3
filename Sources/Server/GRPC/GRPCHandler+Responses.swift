import Domain
import Logging
import NIOCore
import NIOHPACK
import NIOHTTP2
import Wire

/// Responses on their way out.
extension GRPCHandler {
  func refuse(_ stream: GRPCStream, _ refusal: GRPCRequestHead.Refusal) {
    switch refusal {
    case .http(let status):
      stream.isAnswered = true
      write(stream.id, .headers(.init(headers: [":status": "\(status)"], endStream: true)))
      reset(stream)
    case .rpc(let error): answer(stream, Response(error))
    case .encoding(let error):
      var response = Response(error)
      response.trailingMetadata.add("grpc-accept-encoding", GRPCRequestHead.acceptEncoding)
      answer(stream, response)
    }
  }

  /// Ends the call. Nothing is sent on the stream afterwards.
  func answer(_ stream: GRPCStream, _ response: Response) {
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
          return answer(stream, Response(.messageTooLarge(bytes: payload.count)))
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
    stream.inbox?.close()
    reset(stream)
  }

  /// Tells a peer that still sends that nobody listens (RFC 9113, section 8.1).
  func reset(_ stream: GRPCStream) {
    if !stream.isRequestEnded { write(stream.id, .rstStream(.noError)) }
  }

  func sendInitial(_ stream: GRPCStream, _ metadata: Metadata) {
    guard !stream.isInitialSent else { return }
    stream.isInitialSent = true
    var headers = Self.initialHeaders
    if let encoding = stream.answerEncoding { headers.add(name: "grpc-encoding", value: encoding.rawValue) }
    headers.add(metadata)
    write(stream.id, .headers(.init(headers: headers)))
  }

  /// Too small a message is not worth compressing.
  private static let compressedBytesMin = 1024

  func send(
    _ message: [UInt8], compress: Bool?, on stream: GRPCStream, promise: EventLoopPromise<Void>?
  ) {
    let isWorthIt = compress ?? (message.count >= Self.compressedBytesMin)
    let framed = GRPCMessageDecoder.encode(message, compression: isWorthIt ? stream.answerEncoding : nil)
    let counted = count(unread: framed.count, of: stream, promise)
    write(stream.id, .data(.init(data: .byteBuffer(ByteBuffer(bytes: framed)))), promise: counted)
  }

  /// Counts a message until the peer has taken it: a large one, or one that is waited for, by itself, and small
  /// ones until their stream is closed, which costs less.
  private func count(
    unread bytes: Int, of stream: GRPCStream, _ promise: EventLoopPromise<Void>?
  ) -> EventLoopPromise<Void>? {
    guard let context, isActive else { return promise }
    unread.add(bytes)
    if unread.isTooMuch {
      logger.info("closing a connection", metadata: ["reason": "\(unread.bytes) bytes of responses are not read"])
      context.close(promise: nil)
    }
    guard bytes >= 16_384 || promise != nil else {
      stream.unreadBytes += bytes
      return nil
    }
    let promise = promise ?? context.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    promise.futureResult.whenComplete { _ in bound.value.wasRead(bytes) }
    return promise
  }

  /// The peer has taken so many bytes of messages.
  func wasRead(_ bytes: Int) {
    guard isActive, bytes > 0 else { return }
    unread.remove(bytes)
    runner.startWaiting()
  }

  private func sendTrailers(_ stream: GRPCStream, _ trailers: HPACKHeaders, _ metadata: Metadata) {
    var trailers = trailers
    trailers.add(metadata)
    write(stream.id, .headers(.init(headers: trailers, endStream: true)))
  }

  private static let initialHeaders: HPACKHeaders = [":status": "200", "content-type": "application/grpc"]
  private static let okTrailers: HPACKHeaders = ["grpc-status": "0"]

  func write(
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

/// Sends the messages of one streaming response.
struct StreamOutlet: MessageOutlet {
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
