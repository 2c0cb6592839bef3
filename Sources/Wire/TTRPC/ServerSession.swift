public import Domain

/// The server's side of one ttRPC connection: bytes in, calls and answers out. Pure; its owner does
/// the I/O and runs the calls.
///
/// Invariant: of the calls it has handed out and not been told the end of, there are never more than
/// `Limits.callsInFlightPerConnectionMax`, nor do they weigh more than
/// `Limits.callBytesInFlightPerConnectionMax` but for one.
public struct ServerSession: Sendable {
  public enum Action: Sendable {
    /// Run the call; say `finished` when its answer is on its way.
    case start(Call, stream: UInt32)
    /// Send this at once.
    case answer(RPCError, stream: UInt32)
    /// Nothing more can be read from this peer.
    case close(reason: String)
  }

  private var decoder = FrameDecoder(
    frameBytesMax: Limits.frameBytesMax, discardBytesMax: Limits.frameDiscardBytesMax)
  private var lastStream: UInt32 = 0
  private var lastHead = Envelope.Head()
  private var bytesInFlight: [UInt32: Int] = [:]
  private var bytesInFlightSum = 0
  private var pendingClose: String?
  /// Frames and oversized frames so far: tells one unfinished frame from the next.
  public private(set) var framesRead = 0

  /// New calls are refused; those under way go on.
  public var isDraining = false

  public init() {}

  public var callsInFlight: Int { bytesInFlight.count }

  /// A frame has begun and is not complete.
  public var isMidFrame: Bool { decoder.isMidFrame }

  /// What has been read of frames, and is not under way.
  public var bufferedBytes: Int { decoder.bufferedBytes }

  /// As much is under way as may be: read no further.
  public var isFull: Bool {
    bytesInFlight.count >= Limits.callsInFlightPerConnectionMax
      || bytesInFlightSum >= Limits.callBytesInFlightPerConnectionMax
  }

  public mutating func receive(_ bytes: UnsafeRawBufferPointer) {
    decoder.append(bytes)
  }

  /// The next thing to do, or nil until more was received or finished.
  public mutating func next() -> Action? {
    if let reason = pendingClose {
      pendingClose = nil
      return .close(reason: reason)
    }
    while !isFull, let event = decoder.next() {
      framesRead += 1
      switch event {
      case .frame(let header, let data):
        // containerd: frames of other types are ignored, for what may come.
        if header.kind == .request { return open(header, data) }
      case .oversized(let header):
        if header.kind == .request { return .answer(tooLarge(header), stream: header.stream) }
      case .fatal(let header):
        pendingClose = "a frame of \(header.dataBytes) bytes"
        return .answer(tooLarge(header), stream: header.stream)
      }
    }
    return nil
  }

  public mutating func finished(stream: UInt32) {
    bytesInFlightSum -= bytesInFlight.removeValue(forKey: stream) ?? 0
  }

  private mutating func open(_ header: FrameHeader, _ data: [UInt8]) -> Action {
    let stream = header.stream
    guard stream % 2 == 1 else {
      return .answer(streamIDInvalid("stream ids of clients are odd; this one is \(stream)"), stream: stream)
    }
    guard stream > lastStream else {
      return .answer(
        streamIDInvalid("stream ids must grow and are used once; this one is \(stream) after \(lastStream)"),
        stream: stream)
    }
    lastStream = stream
    guard header.flags == 0 else {
      return .answer(
        RPCError(.unimplemented, .streamingUnsupported, "ttRPC streams are not supported; send unary requests"),
        stream: stream)
    }
    guard !isDraining else { return .answer(.draining, stream: stream) }
    do throws(RPCError) {
      let call = try Envelope.call(data, after: &lastHead)
      bytesInFlight[stream] = call.bytes
      bytesInFlightSum += call.bytes
      return .start(call, stream: stream)
    } catch {
      return .answer(error, stream: stream)
    }
  }

  private func streamIDInvalid(_ message: String) -> RPCError {
    RPCError(.invalidArgument, .streamIDInvalid, message)
  }

  private func tooLarge(_ header: FrameHeader) -> RPCError {
    .messageTooLarge(bytes: header.dataBytes)
  }
}

extension RPCError {
  /// A message past the limit of a frame.
  public static func messageTooLarge(bytes: Int) -> RPCError {
    RPCError(
      .resourceExhausted, .messageTooLarge,
      "a message of \(bytes) bytes; at most \(Limits.frameBytesMax) are allowed: send less at once")
  }
}
