import NIOCore

/// The header of an HTTP/2 frame: nine bytes, big-endian (RFC 9113, section 4.1).
struct HTTP2FrameHeader {
  enum Kind: UInt8 {
    case data, headers, priority, resetStream, settings, pushPromise, ping, goAway, windowUpdate, continuation
  }

  static let bytes = 9
  static let endStream: UInt8 = 0x1
  static let acknowledgement: UInt8 = 0x1
  static let endHeaders: UInt8 = 0x4
  static let padded: UInt8 = 0x8
  static let priority: UInt8 = 0x20

  var length: Int
  /// nil: a kind that is to be ignored.
  var kind: Kind?
  var flags: UInt8
  var stream: UInt32

  init(_ bytes: UnsafeRawBufferPointer) {
    length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
    kind = Kind(rawValue: bytes[3])
    flags = bytes[4]
    stream = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 5, as: UInt32.self)) & 0x7fff_ffff
  }

  static func write(
    _ kind: Kind, length: Int, flags: UInt8 = 0, stream: UInt32, to target: UnsafeMutableRawPointer
  ) {
    target.storeBytes(of: (UInt32(length) << 8 | UInt32(kind.rawValue)).bigEndian, as: UInt32.self)
    target.storeBytes(of: flags, toByteOffset: 4, as: UInt8.self)
    target.storeBytes(of: stream.bigEndian, toByteOffset: 5, as: UInt32.self)
  }
}

extension ByteBuffer {
  /// Appends a frame whose content `fill` writes.
  mutating func writeFrame(
    _ kind: HTTP2FrameHeader.Kind, length: Int, flags: UInt8 = 0, stream: UInt32 = 0,
    _ fill: (UnsafeMutableRawPointer) -> Void = { _ in }
  ) {
    writeWithUnsafeMutableBytes(minimumWritableBytes: HTTP2FrameHeader.bytes + length) { buffer in
      let target = buffer.baseAddress!
      HTTP2FrameHeader.write(kind, length: length, flags: flags, stream: stream, to: target)
      fill(target + HTTP2FrameHeader.bytes)
      return HTTP2FrameHeader.bytes + length
    }
  }

  mutating func writeWindowUpdate(_ increment: Int) {
    writeFrame(.windowUpdate, length: 4) { $0.storeBytes(of: UInt32(increment).bigEndian, as: UInt32.self) }
  }

  /// The settings that are not the protocol's own, by their identifiers (RFC 9113, section 6.5.2).
  mutating func writeSettings(_ settings: [(identifier: UInt16, value: Int)]) {
    writeFrame(.settings, length: 6 * settings.count) { target in
      for (index, setting) in settings.enumerated() {
        target.storeBytes(of: setting.identifier.bigEndian, toByteOffset: 6 * index, as: UInt16.self)
        target.storeBytes(of: UInt32(setting.value).bigEndian, toByteOffset: 6 * index + 2, as: UInt32.self)
      }
    }
  }
}

/// Settings and their values, out of a frame's content.
func http2Settings(_ content: UnsafeRawBufferPointer) -> [(identifier: UInt16, value: Int)] {
  (0..<content.count / 6).map { index in
    (
      UInt16(bigEndian: content.loadUnaligned(fromByteOffset: 6 * index, as: UInt16.self)),
      Int(UInt32(bigEndian: content.loadUnaligned(fromByteOffset: 6 * index + 2, as: UInt32.self)))
    )
  }
}
