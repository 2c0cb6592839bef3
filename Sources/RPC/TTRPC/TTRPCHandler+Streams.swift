import Core
import Messages
import NIOCore

/// One streaming call of a ttRPC connection.
final class TTRPCStream {
  let id: UInt32
  let kind: Method.Streams
  let inbox = MessageInbox()
  var call: RunningCall?
  var requestCount = 0
  /// Messages that the method has not been given.
  var waiting: [RPCMessage] = []
  /// What the session counts of each message that was not taken.
  var weights = CircularBuffer<Int>()
  /// The response of a method that has but one.
  var response: [UInt8]?

  init(id: UInt32, _ kind: Method.Streams) {
    self.id = id
    self.kind = kind
  }
}

/// Streaming calls, as containerd's ttRPC has them since its version 1.2.
///
/// ttRPC has no windows. A connection is read no further while its streams hold as many bytes as calls may
/// (`ServerSession.isFull`); and a handler's `send` returns when the socket has taken the message.
extension TTRPCHandler {
  func start(
    _ stream: TTRPCStream, _ method: Method, _ call: Call, isOpen: Bool,
    _ body: @escaping @Sendable (CallContext, RequestStream, ResponseStream) async -> Response
  ) {
    guard let loop = context?.eventLoop else { return }
    streams[stream.id] = stream
    // The stream keeps its inbox, and this handler the stream.
    stream.inbox.onTake = { [unowned self, unowned stream] in taken(stream.weights.removeFirst(), stream: stream.id) }
    let requests = RequestStream(inbox: NIOLoopBound(stream.inbox, eventLoop: loop))
    let outlet = TTRPCOutlet(handler: self, stream: stream)
    let responses = ResponseStream(outlet: NIOLoopBound(outlet, eventLoop: loop))
    let context = CallContext(metadata: call.metadata, peer: connection)
    stream.call = runner.run(method, context, timeout: call.timeout, isBounded: false) { context, completion in
      completion.complete { await body(context, requests, responses) }
    } answer: { [self] response in
      end(stream, response.reply)
    }
    // An empty payload is a message where there can be no other: a request without fields.
    let message = isOpen && call.payload.isEmpty ? nil : call.payload
    receive(message, of: stream, isLast: !isOpen, isCounted: false)
  }

  func receive(_ message: [UInt8]?, stream: UInt32, isLast: Bool) {
    if let stream = streams[stream] { receive(message, of: stream, isLast: isLast, isCounted: true) }
  }

  private func receive(_ message: [UInt8]?, of stream: TTRPCStream, isLast: Bool, isCounted: Bool) {
    if let message {
      guard stream.requestCount < stream.kind.requestsMax else { return end(stream, .failure(.wrongMessageCount)) }
      stream.requestCount += 1
      stream.weights.append(isCounted ? ServerSession.weight(of: message) : 0)
      stream.waiting.append(RPCMessage(bytes: message, wasCompressed: false))
    }
    // A method that takes exactly one begins when it is known that there is no other.
    if isLast || stream.kind != .responses {
      for message in stream.waiting { stream.inbox.add(message) }
      stream.waiting = []
    }
    if isLast {
      let isMissing = stream.requestCount == 0 && stream.kind == .responses
      stream.inbox.finish(isMissing ? .failure(.wrongMessageCount) : .success(()))
    }
  }

  /// Ends the call. Nothing is sent on the stream afterwards.
  func end(_ stream: TTRPCStream, _ reply: Reply) {
    guard streams.removeValue(forKey: stream.id) != nil else { return }
    if let call = stream.call { runner.cancel(call) }
    stream.inbox.close()
    finish(stream: stream.id) { context in
      switch reply {
      case .success where stream.kind == .requests:
        guard let response = stream.response else {
          return write(.failure(.internal(cause: "the method sent no response")), stream: stream.id, context)
        }
        write(.success(response), stream: stream.id, context)
      case .success: write(Envelope.frame(nil, stream: stream.id, flags: .remoteClosed), context)
      case .failure: write(reply, stream: stream.id, context)
      }
    }
  }

  /// The connection is gone.
  func endStreams() {
    for stream in streams.values { stream.inbox.close() }
    streams.removeAll()
  }
}

/// Sends the messages of one streaming response.
private struct TTRPCOutlet: MessageOutlet {
  let handler: TTRPCHandler
  let stream: TTRPCStream

  /// ttRPC's responses have no metadata.
  func setInitialMetadata(_ metadata: Metadata) {}

  func send(_ message: [UInt8], compress: Bool?, done: @escaping @Sendable (Result<Void, RPCError>) -> Void) {
    guard handler.streams[stream.id] === stream, let context = handler.context else {
      return done(.failure(.cancelled))
    }
    guard message.count <= Limits.frameBytesMax else { return done(.failure(.messageTooLarge(bytes: message.count))) }
    guard stream.kind != .requests else {
      stream.response = message
      return done(.success(()))
    }
    handler.write(Envelope.frame(message, stream: stream.id), context, done: done)
  }
}

extension RPCError {
  static let oneMessageExpected = RPCError(
    .unimplemented, .streamingUnsupported, "the method takes exactly one message; send it with the request")
  static let streamExpected = RPCError(
    .unimplemented, .streamingUnsupported, "the method is a stream; call it as one")
}
