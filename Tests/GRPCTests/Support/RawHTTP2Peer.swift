import Messages
import NIOCore
import NIOHPACK

/// A client's side of HTTP/2, as bytes in and out, that does what a correct one may not: it opens streams after a
/// GOAWAY, and leaves PINGs unanswered. It keeps to the windows.
struct RawHTTP2Peer {
  /// What has come on a stream.
  struct Stream {
    var code: String?
    var dataBytes = 0
    var isEnded = false
    var reset: UInt32?
  }

  static let refusedStream: UInt32 = 7
  static let cancel: UInt32 = 8
  static let noLastStream = UInt32(Int32.max)

  /// To be sent.
  private(set) var outgoing: [UInt8] = []
  private(set) var streams: [Int: Stream] = [:]
  /// The last streams that GOAWAYs have named.
  private(set) var goAways: [UInt32] = []
  private(set) var goAwayCodes: [UInt32] = []
  private let answersPings: Bool
  private let acknowledgesSettings: Bool
  /// What it may send on the connection.
  private(set) var window = 65_535
  /// What it may send on a stream: at first, and as far as it has used or been given more of it.
  private var streamWindow = 65_535
  private var streamWindows: [Int: Int] = [:]
  /// DATA that the windows have no room for.
  private var held: [(stream: Int, isLast: Bool, bytes: [UInt8])] = []
  private var incoming = ByteBuffer()
  private var decoder = HPACKDecoder(allocator: ByteBufferAllocator())

  /// - Parameters:
  ///   - windowBytes: what it takes unasked on a stream.
  ///   - acknowledgesSettings: false for one that is slow to read the server's.
  init(windowBytes: Int = 1 << 20, answersPings: Bool = true, acknowledgesSettings: Bool = true) {
    self.answersPings = answersPings
    self.acknowledgesSettings = acknowledgesSettings
    outgoing = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    // SETTINGS_INITIAL_WINDOW_SIZE
    frame(4, on: 0, [0, 4] + Self.bigEndian(UInt32(windowBytes)))
    frame(8, on: 0, Self.bigEndian(1 << 30))
  }

  // MARK: Out

  mutating func takeOutgoing() -> [UInt8] {
    defer { outgoing = [] }
    return outgoing
  }

  mutating func open(_ path: String, on stream: Int, _ metadata: [(String, String)] = []) {
    let headers =
      [
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test"), ("te", "trailers"),
        ("content-type", "application/grpc"),
      ] + metadata
    let block = Self.block(headers)
    let first = block.prefix(16_384)
    frame(1, flags: first.count == block.count ? 4 : 0, on: stream, Array(first))
    for start in stride(from: first.count, to: block.count, by: 16_384) {
      let piece = block[start..<min(start + 16_384, block.count)]
      frame(9, flags: piece.endIndex == block.count ? 4 : 0, on: stream, Array(piece))
    }
  }

  /// A frame of headers by itself.
  mutating func headers(_ headers: [(String, String)], on stream: Int, flags: UInt8) {
    frame(1, flags: flags, on: stream, Self.block(headers))
  }

  /// RFC 7541, section 6.2.2: literal, not indexed, not Huffman's.
  private static func block(_ headers: [(String, String)]) -> [UInt8] {
    headers.flatMap { [0] + text($0.0) + text($0.1) }
  }

  mutating func send(_ message: [UInt8], on stream: Int, end: Bool = true) {
    let bytes = GRPCMessageDecoder.encode(message, compression: nil)
    for start in stride(from: 0, to: bytes.count, by: 16_384) {
      let piece = bytes[start..<min(start + 16_384, bytes.count)]
      held.append((stream, end && piece.endIndex == bytes.count, Array(piece)))
    }
    sendHeld()
  }

  mutating func endSending(on stream: Int) {
    held.append((stream, true, []))
    sendHeld()
  }

  private mutating func sendHeld() {
    var waiting: [(stream: Int, isLast: Bool, bytes: [UInt8])] = []
    for next in held {
      let room = min(window, streamWindow + streamWindows[next.stream, default: 0])
      guard next.bytes.count <= room, !waiting.contains(where: { $0.stream == next.stream }) else {
        waiting.append(next)
        continue
      }
      window -= next.bytes.count
      streamWindows[next.stream, default: 0] -= next.bytes.count
      frame(0, flags: next.isLast ? 1 : 0, on: next.stream, next.bytes)
    }
    held = waiting
  }

  mutating func acknowledgeSettings() { frame(4, flags: 1, on: 0, []) }

  mutating func reset(_ stream: Int) { frame(3, on: stream, Self.bigEndian(Self.cancel)) }

  mutating func widenWindow(of stream: Int, by bytes: Int) { frame(8, on: stream, Self.bigEndian(UInt32(bytes))) }

  /// Any frame, right or wrong.
  mutating func frame(_ type: UInt8, flags: UInt8 = 0, on stream: Int, _ payload: [UInt8]) {
    outgoing += Self.bigEndian(UInt32(payload.count)).dropFirst()
    outgoing += [type, flags] + Self.bigEndian(UInt32(stream)) + payload
  }

  private static func bigEndian(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
  }

  /// Its length in a prefix of seven bits (RFC 7541, section 5.1), and itself.
  private static func text(_ text: String) -> [UInt8] {
    var rest = text.utf8.count
    var length: [UInt8] = []
    if rest < 127 {
      length.append(UInt8(rest))
    } else {
      length.append(127)
      rest -= 127
      while rest >= 128 {
        length.append(UInt8(rest & 127 | 128))
        rest >>= 7
      }
      length.append(UInt8(rest))
    }
    return length + text.utf8
  }

  // MARK: In

  mutating func receive(_ bytes: ByteBuffer) throws {
    incoming.writeImmutableBuffer(bytes)
    while let length = incoming.getBytes(at: incoming.readerIndex, length: 3) {
      let count = length.reduce(0) { $0 << 8 | Int($1) }
      guard incoming.readableBytes >= 9 + count else { return }
      incoming.moveReaderIndex(forwardBy: 3)
      guard let type = incoming.readInteger(as: UInt8.self), let flags = incoming.readInteger(as: UInt8.self),
        let stream = incoming.readInteger(as: UInt32.self), let payload = incoming.readSlice(length: count)
      else { return }
      try take(type, flags, Int(stream), payload)
    }
  }

  private mutating func take(_ type: UInt8, _ flags: UInt8, _ stream: Int, _ payload: ByteBuffer) throws {
    var payload = payload
    switch type {
    case 0: streams[stream, default: .init()].dataBytes += payload.readableBytes
    case 1:
      let headers = try decoder.decodeHeaders(from: &payload)
      if let code = headers.first(name: "grpc-status") { streams[stream, default: .init()].code = code }
    case 3: streams[stream, default: .init()].reset = payload.readInteger()
    case 4 where flags & 1 == 0:
      while let id = payload.readInteger(as: UInt16.self), let value = payload.readInteger(as: UInt32.self) {
        if id == 4 { streamWindow = Int(value) }
      }
      if acknowledgesSettings { acknowledgeSettings() }
      sendHeld()
    case 6 where flags & 1 == 0 && answersPings: frame(6, flags: 1, on: 0, Array(payload.readableBytesView))
    case 8:
      let increment = payload.readInteger(as: UInt32.self).map { Int($0) } ?? 0
      if stream == 0 { window += increment } else { streamWindows[stream, default: 0] += increment }
      sendHeld()
    case 7:
      goAways.append(payload.readInteger() ?? 0)
      goAwayCodes.append(payload.readInteger() ?? 0)
    default: break
    }
    if type < 2, flags & 1 == 1 { streams[stream, default: .init()].isEnded = true }
  }
}
