public import Core

/// The client's side of one ttRPC connection: calls in, frames out; bytes in, replies out. Pure; its
/// owner does the I/O.
public struct ClientSession: Sendable {
  public enum Event: Sendable {
    case reply(Reply, stream: UInt32)
    /// The peer does not speak the protocol: close.
    case fatal(RPCError)
  }

  private var decoder = FrameDecoder(
    // A server's answers may be a little larger than requests may, for their envelope.
    frameBytesMax: 2 * Limits.frameBytesMax, discardBytesMax: 2 * Limits.frameBytesMax)
  private var nextStream: UInt32 = 1

  public init() {}

  /// All stream ids of this connection were used: open another.
  public var isExhausted: Bool { nextStream > UInt32.max - 2 }

  /// The frame that sends the call, and the stream its reply will come on.
  public mutating func open(_ call: Call) throws(RPCError) -> (stream: UInt32, frame: [UInt8]) {
    let stream = nextStream
    let frame = Envelope.frame(call, stream: stream)
    guard frame.count - FrameHeader.bytes <= Limits.frameBytesMax else {
      throw .messageTooLarge(bytes: frame.count - FrameHeader.bytes)
    }
    nextStream += 2
    return (stream, frame)
  }

  public mutating func receive(_ bytes: UnsafeRawBufferPointer) {
    decoder.append(bytes)
  }

  public mutating func next() -> Event? {
    while let event = decoder.next() {
      switch event {
      case .frame(let header, let data) where header.kind == .response:
        return .reply(Result { () throws(RPCError) in try Envelope.reply(data).get() }, stream: header.stream)
      case .frame: continue
      case .oversized(let header), .fatal(let header):
        return .fatal(
          RPCError(
            .unknown, .requestMalformed,
            "the response would be a frame of \(header.dataBytes) bytes, so it is none of ttRPC; is this the address of a Parley?"
          ))
      }
    }
    return nil
  }
}
