public import Core

/// The server's side of one ttRPC connection: bytes in, calls and answers out. Pure; its owner does
/// the I/O and runs the calls.
///
/// Invariant: of the calls it has handed out and not been told the end of, there are never more than
/// `Limits.callsInFlightPerConnectionMax`, nor do they weigh more than
/// `Limits.callBytesInFlightPerConnectionMax` but for one.
public struct ServerSession: Sendable {
  public enum Action: Sendable {
    /// Run the call; say `finished` when its response is on its way.
    case start(Call, stream: UInt32, Shape)
    /// A message of a stream that is open; nil with the last frame, if that has none.
    case receive([UInt8]?, stream: UInt32, isLast: Bool)
    /// Send this at once.
    case answer(RPCError, stream: UInt32)
    /// Nothing more can be read from this peer.
    case close(reason: String)
  }

  /// What a request's flags say of its call.
  public enum Shape: Sendable {
    /// One message each way.
    case unary
    /// A stream whose requests are all there: the request's payload is the only one.
    case streaming
    /// A stream whose client sends on in data frames. The request's payload is the first message, unless it is empty.
    case open
  }

  private struct Stream {
    /// Of its request, and of messages that nobody has taken so far.
    var bytes: Int
    var isOpen: Bool
  }

  private var decoder = FrameDecoder(
    frameBytesMax: Limits.frameBytesMax, discardBytesMax: Limits.frameDiscardBytesMax)
  private var lastStream: UInt32 = 0
  private var lastHead = Envelope.Head()
  private var streams: [UInt32: Stream] = [:]
  private var bytesInFlightSum = 0
  private var pendingClose: String?
  /// Frames and oversized frames so far: tells one unfinished frame from the next.
  public private(set) var framesRead = 0

  /// New calls are refused; those under way go on.
  public var isDraining = false

  public init() {}

  public var callsInFlight: Int { streams.count }

  /// A frame has begun and is not complete.
  public var isMidFrame: Bool { decoder.isMidFrame }

  /// What has been read of frames, and is not under way.
  public var bufferedBytes: Int { decoder.bufferedBytes }

  /// As much is under way as may be: read no further.
  public var isFull: Bool {
    streams.count >= Limits.callsInFlightPerConnectionMax
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
        if header.kind == .data, let action = receive(header, data) { return action }
      case .oversized(let header):
        let isOfStream = header.kind == .data && streams[header.stream] != nil
        if header.kind == .request || isOfStream { return .answer(tooLarge(header), stream: header.stream) }
      case .fatal(let header):
        pendingClose = "a frame of \(header.dataBytes) bytes"
        return .answer(tooLarge(header), stream: header.stream)
      }
    }
    return nil
  }

  public mutating func finished(stream: UInt32) {
    bytesInFlightSum -= streams.removeValue(forKey: stream)?.bytes ?? 0
  }

  /// What a message counts that nobody has taken: it takes memory however short it is.
  public static func weight(of message: [UInt8]) -> Int { message.count + 64 }

  /// A message that a stream received was taken.
  public mutating func taken(_ bytes: Int, stream: UInt32) {
    guard streams[stream] != nil else { return }
    streams[stream]!.bytes -= bytes
    bytesInFlightSum -= bytes
  }

  /// A data frame: of a stream that is open, or one that has just ended, of which its client may not know.
  private mutating func receive(_ header: FrameHeader, _ data: [UInt8]) -> Action? {
    let stream = header.stream
    guard stream % 2 == 1, stream <= lastStream else {
      return .answer(streamIDInvalid("data for stream \(stream), which no request has begun"), stream: stream)
    }
    guard let state = streams[stream] else { return nil }
    guard state.isOpen else {
      return .answer(streamIDInvalid("data for stream \(stream), whose request said that none follows"), stream: stream)
    }
    let isLast = header.flags.contains(.remoteClosed)
    let message = header.flags.contains(.noData) ? nil : data
    let weight = message.map(Self.weight) ?? 0
    streams[stream] = Stream(bytes: state.bytes + weight, isOpen: !isLast)
    bytesInFlightSum += weight
    return .receive(message, stream: stream, isLast: isLast)
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
    guard [[], .remoteClosed, .remoteOpen].contains(header.flags) else {
      return .answer(
        RPCError(
          .unimplemented, .streamingUnsupported,
          "the request's flags are \(header.flags.rawValue); known are 0, 1 (no data follows) and 2 (data follows)"),
        stream: stream)
    }
    guard !isDraining else { return .answer(.draining, stream: stream) }
    do throws(RPCError) {
      let call = try Envelope.call(data, after: &lastHead)
      let shape: Shape =
        header.flags.contains(.remoteOpen) ? .open : header.flags.contains(.remoteClosed) ? .streaming : .unary
      streams[stream] = Stream(bytes: call.bytes, isOpen: shape == .open)
      bytesInFlightSum += call.bytes
      return .start(call, stream: stream, shape)
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
