import Core
import Messages

/// One call as its stream has it: from headers and bytes to messages, and from a response to headers and bytes. Pure.
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

  let opened: ContinuousClock.Instant
  private var head: GRPCRequestHead?
  private var method: Method?
  /// nil: it is not a stream.
  private var streams: Method.Streams?
  private var decoder = GRPCMessageDecoder(compression: nil, bytesMax: Limits.frameBytesMax)
  private var messageCount = 0
  /// Of a request that takes but one, until it is complete.
  private var message: RPCMessage?
  /// Messages that a streaming method has been given, and those among them that it has taken.
  private var given = (messages: 0, bytes: 0)
  private var taken = (messages: 0, bytes: 0)
  /// Received, and not given back to the peer's window.
  private(set) var unreturnedBytes = 0
  /// The connection's sum has so many bytes of it.
  private(set) var countedBytes = 0
  /// The call has begun.
  private(set) var hasBegun = false
  /// The peer has sent its last frame.
  private(set) var isRequestEnded = false
  private var isInitialSent = false
  /// The call's end was sent, or the stream is gone.
  private(set) var isAnswered = false

  init(opened: ContinuousClock.Instant) {
    self.opened = opened
  }

  // MARK: The request

  /// - Returns: whether the call begins at once, being a stream.
  mutating func open(_ head: GRPCRequestHead, _ method: Method) -> Bool {
    (self.head, self.method) = (head, method)
    if head.encoding != nil {
      decoder = GRPCMessageDecoder(compression: head.encoding, bytesMax: Limits.frameBytesMax)
    }
    guard case .streaming(let streams, _) = method.handler else { return false }
    self.streams = streams
    hasBegun = true
    return true
  }

  private var requestsMax: Int { streams?.requestsMax ?? 1 }

  /// - Parameter deliver: gets the messages of a streaming request.
  mutating func receive(_ bytes: UnsafeRawBufferPointer, deliver: (RPCMessage) -> Void) throws(RPCError) {
    unreturnedBytes += bytes.count
    guard !isAnswered else { return }
    // Most requests come in one piece.
    if let message = decoder.whole(bytes) { return try take(message, deliver: deliver) }
    decoder.append(bytes)
    while let message = try nextMessage() { try take(message, deliver: deliver) }
  }

  private mutating func take(_ message: RPCMessage, deliver: (RPCMessage) -> Void) throws(RPCError) {
    guard messageCount < requestsMax else { throw .wrongMessageCount }
    messageCount += 1
    // A method that takes exactly one begins when it is known that there is no other.
    guard requestsMax > 1 else {
      self.message = message
      return
    }
    give(message)
    deliver(message)
  }

  private mutating func nextMessage() throws(RPCError) -> RPCMessage? {
    do throws(GRPCStreamError) { return try decoder.next() } catch { throw RPCError(error) }
  }

  private mutating func give(_ message: RPCMessage) {
    given = (given.messages + 1, given.bytes + message.bytes.count)
  }

  /// The peer sends no more.
  mutating func end(at now: ContinuousClock.Instant) -> End {
    isRequestEnded = true
    guard !isAnswered else { return .nothing }
    guard decoder.bufferedBytes == 0 else { return .fail(RPCError(.malformed("the request ended within a message"))) }
    let message = message
    self.message = nil
    guard streams == nil else {
      if let message { give(message) }
      let isMissing = messageCount == 0 && requestsMax == 1
      return .finish(message, isMissing ? .failure(.wrongMessageCount) : .success(()))
    }
    guard let message, let method, let head else { return .fail(.wrongMessageCount) }
    hasBegun = true
    return .run(method, head, message, timeout: timeLeft(at: now))
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
    guard unreturnedBytes >= threshold, !isRequestEnded, !isAnswered,
      given.messages == taken.messages
    else { return nil }
    defer { unreturnedBytes = 0 }
    return unreturnedBytes
  }

  /// Of the caller's deadline, and of the longest a call may take.
  func timeLeft(at now: ContinuousClock.Instant) -> Duration {
    let longest = Duration.seconds(Limits.callSecondsMax)
    return min(head?.timeout ?? longest, longest) - (now - opened)
  }

  /// It waits for the end of its request longer than it may.
  func isOverdue(at now: ContinuousClock.Instant) -> Bool {
    !hasBegun && !isAnswered && timeLeft(at: now) <= .zero
  }

  // MARK: The response

  /// The caller's own encoding, where it takes responses in it too.
  private var encoding: Compression? {
    guard let head, let encoding = head.encoding else { return nil }
    return head.accepts?.contains(encoding) ?? true ? encoding : nil
  }

  /// The headers before the first message, unless they were sent.
  mutating func begin(_ metadata: Metadata, _ send: (Outgoing) -> Void) {
    guard !isInitialSent, !isAnswered else { return }
    isInitialSent = true
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
      guard streams != nil || payload.count <= Limits.frameBytesMax else {
        return answer(Response(.messageTooLarge(bytes: payload.count)), send)
      }
      begin(response.initialMetadata, send)
      if streams == nil { self.send(payload, compress: response.compress, send) }
      var trailers = HTTP2Headers(.grpcOK)
      trailers.add(response.trailingMetadata)
      send(.trailers(trailers))
    case .failure(let error):
      var trailers = HTTP2Headers(isInitialSent ? nil : .grpcResponse)
      if !isInitialSent { trailers.add(response.initialMetadata) }
      trailers.add(error)
      trailers.add(response.trailingMetadata)
      send(isInitialSent ? .trailers(trailers) : .headers(trailers, isLast: true))
    }
    forget()
  }

  /// Refuses what is no call.
  mutating func refuse(_ refusal: GRPCRequestHead.Refusal, _ send: (Outgoing) -> Void) {
    switch refusal {
    case .http(let status):
      var headers = HTTP2Headers()
      headers.add(":status", "\(status)")
      send(.headers(headers, isLast: true))
      forget()
    case .rpc(let error): answer(Response(error), send)
    case .encoding(let error):
      var response = Response(error)
      response.trailingMetadata.add("grpc-accept-encoding", GRPCRequestHead.acceptEncoding)
      answer(response, send)
    }
  }

  private mutating func forget() {
    isAnswered = true
    message = nil
    decoder = GRPCMessageDecoder(compression: nil, bytesMax: Limits.frameBytesMax)
  }
}

extension ConstantHeaders {
  static let grpcResponse = ConstantHeaders((":status", "200"), ("content-type", "application/grpc"))
  static let grpcOK = ConstantHeaders(("grpc-status", "0"))
}

extension HTTP2Headers {
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
