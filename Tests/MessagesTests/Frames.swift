import Core
import Messages

/// A frame's bytes, by hand. `length` is what its header claims, where that is not the truth.
func frame(
  stream: UInt32 = 1, kind: UInt8 = 1, flags: UInt8 = 0, _ data: [UInt8] = [], length: Int? = nil
) -> [UInt8] {
  bigEndian(UInt32(length ?? data.count)) + bigEndian(stream) + [kind, flags] + data
}

/// The data of a request frame, by hand.
func envelope(
  service: String = "parley.v1.InteractionService", method: String = "GetInteraction", payload: [UInt8] = [],
  timeoutNanoseconds: Int64? = nil, metadata: [(String, String)] = []
) -> [UInt8] {
  field(1, text: service) + field(2, text: method) + field(3, bytes: payload)
    + (timeoutNanoseconds.map { field(4, varint: $0) } ?? [])
    + metadata.flatMap { field(5, bytes: field(1, text: $0) + field(2, text: $1)) }
}

func request(stream: UInt32, payload: [UInt8] = []) -> [UInt8] {
  frame(stream: stream, envelope(payload: payload))
}

private func bigEndian(_ value: UInt32) -> [UInt8] {
  [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
}

extension FrameDecoder {
  /// A decoder with the limits of a server.
  static var server: FrameDecoder { FrameDecoder(frameBytesMax: 4_194_304, discardBytesMax: 16_777_215) }

  mutating func append(_ bytes: some Sequence<UInt8>) {
    Array(bytes).withUnsafeBytes { append($0) }
  }

  /// What the bytes, and those before them, make.
  mutating func events(after bytes: some Sequence<UInt8> = []) -> [Event] {
    append(bytes)
    var events: [Event] = []
    while let event = next() { events.append(event) }
    return events
  }

  /// The bytes it keeps, and those it has room for.
  var held: (count: Int, capacity: Int) {
    let buffer = Mirror(reflecting: self).descendant("buffer") as! [UInt8]
    return (buffer.count, buffer.capacity)
  }
}

extension [UInt8] {
  /// Cut into pieces at random.
  func cut(using chance: inout some RandomNumberGenerator) -> [ArraySlice<UInt8>] {
    var (pieces, start) = ([ArraySlice<UInt8>](), 0)
    while start < count {
      let end = Swift.min(count, start + .random(in: 1...Swift.max(1, count / 8), using: &chance))
      pieces.append(self[start..<end])
      start = end
    }
    return pieces
  }

  /// Cut into pieces of that many bytes.
  func cut(every bytes: Int) -> [ArraySlice<UInt8>] {
    stride(from: 0, to: count, by: bytes).map { self[$0..<Swift.min(count, $0 + bytes)] }
  }
}
