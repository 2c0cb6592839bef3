import Core
import Messages

/// One call as its stream has it: from headers and bytes to messages, and from a response to headers and bytes. Pure; and
/// copyable, because a Dictionary, in which the connection keeps its streams, takes nothing else.
struct GRPCStreamState {
  /// What a stream sends.
  enum Outgoing {
    /// Headers; where `isLast`, there is nothing behind them.
    case headers(HTTP2Headers, isLast: Bool)
    /// The first bytes of a message as it travels, whose others follow.
    case prefix([UInt8])
    /// A message as it travels, or what follows its prefix.
    case message([UInt8])
    case trailers(HTTP2Headers)
  }

  /// What the end of a request means.
  enum End {
    case nothing
    /// A unary call begins.
    case run(Method, GRPCRequestHead, RPCMessage, timeout: Duration)
    /// The messages of a streaming request have ended, perhaps with this one.
    case finish(RPCMessage?, Result<Void, RPCError>)
    case fail(RPCError)
  }

  /// How far the call is. It holds no references, because it is asked several times a call, and each time would copy them.
  private enum Phase {
    /// Of a unary call the request comes. If that is not complete by the deadline, the call fails.
    case receiving
    /// A unary call has begun, with its whole request.
    case running
    /// A streaming call has begun, with its headers, and its messages come.
    case streaming(Method.Streams)
    /// The messages of a streaming call have all come.
    case responding
    /// The call's end was sent, or it was refused.
    case answered
  }

  private var phase: Phase
  /// Of a unary call, until it begins: what it begins with.
  private var pending: (head: GRPCRequestHead, method: Method)?
  private let deadline: ContinuousClock.Instant
  /// Of the messages of the response: the caller's own, where it takes responses in it too.
  private let encoding: Compression?
  private var decoder: GRPCMessageDecoder
  /// Of a request that takes but one, until it is complete.
  private var message: RPCMessage?
  /// Messages that a streaming method has been given, and those among them that it has taken.
  private var given = (messages: 0, bytes: 0)
  private var taken = (messages: 0, bytes: 0)
  /// Received, and not given back to the peer's window.
  private(set) var unreturnedBytes = 0
  /// The connection's sum has so many bytes of it.
  private(set) var countedBytes = 0
  /// The headers before the first message were sent.
  private var areHeadersSent = false

  /// A call, which begins at once if it is streaming.
  init(_ head: GRPCRequestHead, _ method: Method, opened: ContinuousClock.Instant) {
    if case .streaming(let streams, _) = method.handler {
      phase = .streaming(streams)
    } else {
      phase = .receiving
      pending = (head, method)
    }
    // The caller's, or the longest that a call may take.
    let longest = Duration.seconds(Limits.callSecondsMax)
    deadline = opened + min(head.timeout ?? longest, longest)
    encoding = head.responseEncoding
    decoder = GRPCMessageDecoder(compression: head.encoding, bytesMax: Limits.frameBytesMax)
  }

  /// What is no call, and is answered so.
  init(
    refused refusal: GRPCRequestHead.Refusal, opened: ContinuousClock.Instant, _ send: (Outgoing) -> Void
  ) {
    phase = .answered
    deadline = opened
    encoding = nil
    decoder = GRPCMessageDecoder(compression: nil, bytesMax: Limits.frameBytesMax)
    send(.headers(HTTP2Headers(refusal), isLast: true))
  }

  /// The call has begun, and is not answered.
  var isUnderWay: Bool {
    switch phase {
    case .running, .streaming, .responding: true
    case .receiving, .answered: false
    }
  }

  /// The call's end was sent, or it was refused.
  var isAnswered: Bool {
    if case .answered = phase { true } else { false }
  }

  /// The messages of the request, or of the response, are a stream.
  var isStreaming: Bool {
    switch phase {
    case .streaming, .responding: true
    case .receiving, .running, .answered: false
    }
  }

  // MARK: The request

  /// How many messages the request may have; nil: nothing more of it counts.
  private var requestsMax: Int? {
    switch phase {
    case .receiving: 1
    case .streaming(let streams): streams.requestsMax
    case .running, .responding, .answered: nil
    }
  }

  /// - Parameter deliver: gets the messages of a streaming request.
  mutating func receive(_ bytes: UnsafeRawBufferPointer, deliver: (RPCMessage) -> Void) throws(RPCError) {
    unreturnedBytes += bytes.count
    guard let requestsMax else { return }
    // Most requests come in one piece.
    if let message = decoder.whole(bytes) { return try take(message, of: requestsMax, deliver: deliver) }
    decoder.append(bytes)
    while let message = try nextMessage() { try take(message, of: requestsMax, deliver: deliver) }
  }

  private mutating func take(
    _ message: RPCMessage, of requestsMax: Int, deliver: (RPCMessage) -> Void
  ) throws(RPCError) {
    // A method that takes exactly one begins when it is known that there is no other.
    if requestsMax == 1 {
      guard self.message == nil else { throw .wrongMessageCount }
      self.message = message
    } else {
      give(message)
      deliver(message)
    }
  }

  private mutating func nextMessage() throws(RPCError) -> RPCMessage? {
    do throws(GRPCStreamError) { return try decoder.next() } catch { throw RPCError(error) }
  }

  private mutating func give(_ message: RPCMessage) {
    given = (given.messages + 1, given.bytes + message.bytes.count)
  }

  /// The peer sends no more.
  mutating func end(at now: ContinuousClock.Instant) -> End {
    guard requestsMax != nil else { return .nothing }
    guard decoder.bufferedBytes == 0 else { return .fail(RPCError(.malformed("the request ended within a message"))) }
    let message = message
    self.message = nil
    switch phase {
    case .receiving:
      guard let message, let (head, method) = pending else { return .fail(.wrongMessageCount) }
      phase = .running
      pending = nil
      return .run(method, head, message, timeout: deadline - now)
    case .streaming(let streams):
      phase = .responding
      if let message { give(message) }
      let isMissing = message == nil && streams.requestsMax == 1
      return .finish(message, isMissing ? .failure(.wrongMessageCount) : .success(()))
    case .running, .responding, .answered: return .nothing
    }
  }

  /// The method has taken so many messages and bytes in all.
  mutating func took(messages: Int, bytes: Int) { taken = (messages, bytes) }

  /// By how much what it holds has changed since the last time.
  mutating func heldChange() -> Int {
    let held = heldBytes
    defer { countedBytes = held }
    return held - countedBytes
  }

  /// Of requests not complete or not taken, as large as they are when decompressed.
  private var heldBytes: Int {
    isAnswered ? 0 : decoder.bufferedBytes + (message?.bytes.count ?? 0) + given.bytes - taken.bytes
  }

  /// What may be given back to the peer's window: not where it sends no more, or nobody takes more.
  mutating func returnBytes(from threshold: Int) -> Int? {
    guard unreturnedBytes >= threshold, requestsMax != nil, given.messages == taken.messages else { return nil }
    defer { unreturnedBytes = 0 }
    return unreturnedBytes
  }

  /// It waits for the end of its request longer than it may.
  func isOverdue(at now: ContinuousClock.Instant) -> Bool {
    if case .receiving = phase { now >= deadline } else { false }
  }

  // MARK: The response

  /// The headers before the first message, unless they were sent.
  mutating func begin(_ metadata: Metadata, _ send: (Outgoing) -> Void) {
    guard !areHeadersSent, !isAnswered else { return }
    areHeadersSent = true
    var headers = HTTP2Headers(.grpcResponse)
    if let encoding { headers.add("grpc-encoding", encoding.rawValue) }
    headers.add(metadata)
    send(.headers(headers, isLast: false))
  }

  /// A message of the response.
  ///
  /// - Returns: false where nobody waits for it.
  @discardableResult
  mutating func send(_ message: [UInt8], compress: Bool?, _ send: (Outgoing) -> Void) -> Bool {
    guard !isAnswered else { return false }
    begin(Metadata(), send)
    // Too small a message is not worth compressing.
    let isWorthIt = compress ?? (message.count >= Self.compressedBytesMin)
    let compression = isWorthIt ? encoding : nil
    if compression == nil, message.count >= Self.copiedBytesMax {
      send(.prefix(GRPCMessageDecoder.prefix(of: message)))
      send(.message(message))
    } else {
      send(.message(GRPCMessageDecoder.encode(message, compression: compression)))
    }
    return true
  }

  private static let compressedBytesMin = 1024
  /// A smaller message is copied behind its prefix for less than it takes to send the two apart.
  private static let copiedBytesMax = 4096

  /// Ends the call. Nothing is sent on the stream afterwards.
  mutating func answer(_ response: Response, _ send: (Outgoing) -> Void) {
    guard !isAnswered else { return }
    switch response.reply {
    case .success(let payload):
      let isUnary = !isStreaming
      guard !isUnary || payload.count <= Limits.frameBytesMax else {
        return answer(Response(.messageTooLarge(bytes: payload.count)), send)
      }
      begin(response.initialMetadata, send)
      if isUnary { self.send(payload, compress: response.compress, send) }
      var trailers = HTTP2Headers(.grpcOK)
      trailers.add(response.trailingMetadata)
      send(.trailers(trailers))
    case .failure(let error):
      var trailers = HTTP2Headers(areHeadersSent ? nil : .grpcResponse)
      if !areHeadersSent { trailers.add(response.initialMetadata) }
      trailers.add(error)
      trailers.add(response.trailingMetadata)
      send(areHeadersSent ? .trailers(trailers) : .headers(trailers, isLast: true))
    }
    phase = .answered
    pending = nil
    message = nil
    decoder = GRPCMessageDecoder(compression: nil, bytesMax: Limits.frameBytesMax)
  }
}

extension GRPCRequestHead {
  /// The caller's own encoding, where it takes responses in it too.
  fileprivate var responseEncoding: Compression? {
    guard let encoding else { return nil }
    return accepts?.contains(encoding) ?? true ? encoding : nil
  }
}

extension ConstantHeaders {
  static let grpcResponse = ConstantHeaders((":status", "200"), ("content-type", "application/grpc"))
  static let grpcOK = ConstantHeaders(("grpc-status", "0"))
}

extension HTTP2Headers {
  /// What a request is refused with.
  fileprivate init(_ refusal: GRPCRequestHead.Refusal) {
    switch refusal {
    case .http(let status):
      self.init()
      add(":status", "\(status)")
    case .rpc(let error):
      self.init(.grpcResponse)
      add(error)
    case .encoding(let error):
      self.init(.grpcResponse)
      add(error)
      add("grpc-accept-encoding", GRPCRequestHead.acceptEncoding)
    }
  }

  fileprivate mutating func add(_ metadata: Metadata) {
    for entry in metadata.entries { add(entry.key, entry.value) }
  }

  /// gRPC over HTTP2, Trailers: the same details as on ttRPC, in `grpc-status-details-bin`.
  fileprivate mutating func add(_ error: RPCError) {
    add("grpc-status", String(error.code.rawValue))
    add("grpc-message", GRPCStatusMessage.encode(error.message))
    add("grpc-status-details-bin", Base64.encode(error.encodedStatus()))
  }
}

extension RPCError {
  /// gRPC's statuscodes.md: a wrong number of messages is UNIMPLEMENTED.
  static let wrongMessageCount = RPCError(
    .unimplemented, .messageCountWrong, "the method takes exactly one message")
}
