/// One message of a gRPC stream.
public struct RPCMessage: Hashable, Sendable {
  public var bytes: [UInt8]
  /// It travelled compressed.
  public var wasCompressed: Bool

  public init(bytes: [UInt8], wasCompressed: Bool) {
    self.bytes = bytes
    self.wasCompressed = wasCompressed
  }
}

/// Cuts the DATA of one HTTP/2 stream into gRPC messages: a byte that says whether it is compressed,
/// its length in four bytes, big-endian, and the message (gRPC over HTTP2, Length-Prefixed-Message).
/// Pure. It holds no more than one unfinished message and what came with it.
public struct GRPCMessageDecoder: Sendable {
  public static let prefixBytes = 5

  private let compression: Compression?
  private let bytesMax: Int
  private var buffer: [UInt8] = []
  private var start = 0

  public init(compression: Compression?, bytesMax: Int) {
    self.compression = compression
    self.bytesMax = bytesMax
  }

  /// What is held.
  public var bufferedBytes: Int { buffer.count - start }

  /// What is allocated for it.
  package var allocatedBytes: Int { buffer.capacity }

  /// A message that these bytes are, without having been held; nil, having done nothing, where they are not exactly one,
  /// or others came before, or it is compressed.
  public func whole(_ bytes: UnsafeRawBufferPointer) -> RPCMessage? {
    guard bufferedBytes == 0, bytes.count >= Self.prefixBytes, bytes[0] == 0 else { return nil }
    let length = bytes[1..<Self.prefixBytes].reduce(0) { $0 << 8 | Int($1) }
    guard length <= bytesMax, bytes.count == Self.prefixBytes + length else { return nil }
    return RPCMessage(bytes: Array(bytes.dropFirst(Self.prefixBytes)), wasCompressed: false)
  }

  /// Inlined, so that the bytes are copied as such.
  @inlinable
  public mutating func append(_ bytes: some Collection<UInt8>) {
    if bytes.withContiguousStorageIfAvailable({ append($0) }) == nil {
      Array(bytes).withUnsafeBufferPointer { append($0) }
    }
  }

  @usableFromInline
  mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) {
    if start == buffer.count {
      buffer.removeAll(keepingCapacity: buffer.capacity <= 65_536)
      start = 0
    } else if start > buffer.count / 2 {
      buffer.removeSubrange(..<start)
      start = 0
    }
    buffer.append(contentsOf: bytes)
  }

  /// The next message, or nil when more bytes are needed.
  public mutating func next() throws(GRPCStreamError) -> RPCMessage? {
    guard bufferedBytes >= Self.prefixBytes else { return nil }
    let flag = buffer[start]
    let length = buffer[start + 1..<start + 5].reduce(0) { $0 << 8 | Int($1) }
    guard flag <= 1 else { throw .malformed("a message's first byte is \(flag); it is 0 or 1") }
    guard length <= bytesMax else { throw .messageTooLarge(bytes: length) }
    guard bufferedBytes >= Self.prefixBytes + length else { return nil }
    let bytes = Array(buffer[start + Self.prefixBytes..<start + Self.prefixBytes + length])
    start += Self.prefixBytes + length
    // Its stream may stay open for long.
    if start == buffer.count, buffer.capacity > 65_536 { (buffer, start) = ([], 0) }
    guard flag == 1 else { return RPCMessage(bytes: bytes, wasCompressed: false) }
    guard let compression else { throw .malformed("a message is compressed, but grpc-encoding says none is") }
    do {
      return RPCMessage(bytes: try compression.decompress(bytes, bytesMax: bytesMax), wasCompressed: true)
    } catch {
      switch error {
      case .malformed: throw .malformed("a message is not of the form its grpc-encoding, \(compression.rawValue), says")
      case .tooLarge: throw .messageTooLarge(bytes: bytesMax + 1)
      }
    }
  }

  /// The message as it travels; compressed where that makes it smaller.
  public static func encode(_ message: [UInt8], compression: Compression?) -> [UInt8] {
    if let compression {
      let compressed = compression.compress(message)
      if compressed.count < message.count { return encode(compressed, flag: 1) }
    }
    return encode(message, flag: 0)
  }

  /// What travels in front of a message that is not compressed.
  public static func prefix(of message: [UInt8]) -> [UInt8] {
    withUnsafeBytes(of: UInt32(message.count).bigEndian) { [0] + $0 }
  }

  private static func encode(_ bytes: [UInt8], flag: UInt8) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: prefixBytes + bytes.count) { buffer, count in
      buffer[0] = flag
      UnsafeMutableRawBufferPointer(buffer).storeBytes(
        of: UInt32(bytes.count).bigEndian, toByteOffset: 1, as: UInt32.self)
      _ = UnsafeMutableBufferPointer(rebasing: buffer[prefixBytes...]).initialize(from: bytes)
      count = prefixBytes + bytes.count
    }
  }
}

/// What a peer did against gRPC's protocol on one stream.
public enum GRPCStreamError: Error, Hashable, Sendable {
  case malformed(String)
  case messageTooLarge(bytes: Int)
}
