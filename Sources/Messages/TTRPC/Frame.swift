/// The header of a ttRPC frame: ten bytes, big-endian.
///
/// Bytes 0-3 the length of the data after the header, 4-7 the stream, 8 the type, 9 the flags
/// (containerd's ttRPC, PROTOCOL.md).
public struct FrameHeader: Equatable, Sendable {
  public static let bytes = 10

  /// Types not known here are kept as they are: a receiver ignores such frames.
  public struct Kind: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let request = Kind(rawValue: 1)
    public static let response = Kind(rawValue: 2)
    public static let data = Kind(rawValue: 3)
  }

  public var dataBytes: Int
  public var stream: UInt32
  public var kind: Kind
  public var flags: FrameFlags

  public init(dataBytes: Int, stream: UInt32, kind: Kind, flags: FrameFlags = []) {
    self.dataBytes = dataBytes
    self.stream = stream
    self.kind = kind
    self.flags = flags
  }

  init(_ bytes: UnsafeRawBufferPointer) {
    dataBytes = Int(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
    stream = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    kind = Kind(rawValue: bytes[8])
    flags = FrameFlags(rawValue: bytes[9])
  }

  func write(to bytes: UnsafeMutableRawBufferPointer) {
    bytes.storeBytes(of: UInt32(dataBytes).bigEndian, as: UInt32.self)
    bytes.storeBytes(of: stream.bigEndian, toByteOffset: 4, as: UInt32.self)
    bytes[8] = kind.rawValue
    bytes[9] = flags.rawValue
  }
}

/// What a frame says by its flags (containerd's ttRPC, PROTOCOL.md; streams are of its version 1.2).
public struct FrameFlags: OptionSet, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }
  /// The sender sends no more on this stream. Of a request: it has all that the client sends.
  public static let remoteClosed = FrameFlags(rawValue: 0x01)
  /// Of a request: data frames follow.
  public static let remoteOpen = FrameFlags(rawValue: 0x02)
  /// There is no message in this data frame, not even an empty one.
  public static let noData = FrameFlags(rawValue: 0x04)
}

/// Cuts a stream of bytes into frames, however the bytes arrive. Pure: it does no I/O.
///
/// It holds the bytes of at most one unfinished frame and of what was appended since `next()` last
/// answered nil.
public struct FrameDecoder: Sendable {
  public enum Event: Equatable, Sendable {
    case frame(FrameHeader, data: [UInt8])
    /// The data passed `Limits.frameBytesMax` and was thrown away; the next frame may follow.
    case oversized(FrameHeader)
    /// The data is larger than anybody may make us read: close the connection.
    case fatal(FrameHeader)
  }

  private enum State {
    case header
    case data(FrameHeader)
    case discarding(FrameHeader, bytesLeft: Int)
    case failed
  }

  private let frameBytesMax: Int
  private let discardBytesMax: Int
  private var state = State.header
  private var buffer: [UInt8] = []
  private var start = 0

  public init(frameBytesMax: Int, discardBytesMax: Int) {
    self.frameBytesMax = frameBytesMax
    self.discardBytesMax = discardBytesMax
  }

  /// A frame has begun and is not complete.
  public var isMidFrame: Bool {
    if case .header = state { start < buffer.count } else { true }
  }

  /// What is held.
  public var bufferedBytes: Int { buffer.count - start }

  /// What is allocated for it.
  package var allocatedBytes: Int { buffer.capacity }

  public mutating func append(_ bytes: UnsafeRawBufferPointer) {
    if case .failed = state { return }
    if start > buffer.count / 2 {
      buffer.removeSubrange(..<start)
      start = 0
    }
    buffer.append(contentsOf: bytes)
  }

  /// Takes note that so many bytes are done with. A buffer that a large frame has grown is given back,
  /// or every idle connection would keep the largest frame it ever saw.
  private mutating func drop(_ count: Int) {
    start += count
    guard start == buffer.count else { return }
    buffer.removeAll(keepingCapacity: buffer.capacity <= 65_536)
    start = 0
  }

  /// The next event, or nil when more bytes are needed.
  public mutating func next() -> Event? {
    while true {
      let available = buffer.count - start
      switch state {
      case .header:
        guard available >= FrameHeader.bytes else { return nil }
        let header = take(FrameHeader.bytes) { FrameHeader($0) }
        if header.dataBytes <= frameBytesMax {
          state = .data(header)
        } else if header.dataBytes <= discardBytesMax {
          state = .discarding(header, bytesLeft: header.dataBytes)
        } else {
          state = .failed
          buffer = []
          start = 0
          return .fatal(header)
        }
      case .data(let header):
        guard available >= header.dataBytes else { return nil }
        state = .header
        return .frame(header, data: take(header.dataBytes) { [UInt8]($0) })
      case .discarding(let header, let bytesLeft):
        let discarded = min(bytesLeft, available)
        drop(discarded)
        guard discarded == bytesLeft else {
          state = .discarding(header, bytesLeft: bytesLeft - discarded)
          return nil
        }
        state = .header
        return .oversized(header)
      case .failed:
        return nil
      }
    }
  }

  private mutating func take<R>(_ count: Int, _ body: (UnsafeRawBufferPointer) -> R) -> R {
    defer { drop(count) }
    return buffer.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[start..<start + count])) }
  }
}
