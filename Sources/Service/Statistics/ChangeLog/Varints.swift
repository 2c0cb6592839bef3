import Core

/// Writes whole numbers in as few bytes as they need (LEB128), and texts behind their length. Numbers
/// without a pattern, ids among them, are written as they are, big end first.
struct VarintWriter {
  private(set) var bytes: [UInt8]

  init(after bytes: [UInt8] = []) {
    self.bytes = bytes
  }

  mutating func add(_ value: some UnsignedInteger & FixedWidthInteger) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  mutating func add(_ value: Int) { add(UInt(value)) }

  mutating func add(_ text: String) {
    add(text.utf8.count)
    bytes.append(contentsOf: text.utf8)
  }

  mutating func add(fixed value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func add(_ id: InteractionID) {
    add(fixed: id.high)
    add(fixed: id.low)
  }
}

/// Why bytes that PostgreSQL keeps for statistics and lists cannot be read. It concerns the tenant and the hours they are
/// of, and nobody else: the rows answer there.
enum Unreadable: Error {
  /// No server wrote them so: they are damaged.
  case damaged
  /// A newer server wrote them in a format of its own. They stay as they are.
  case newerFormat

  /// Why bytes cannot be read whose first byte is this instead of the format that is known. A format's number is below 128.
  init(format: UInt8, known: UInt8) {
    self = format > known && format < 0x80 ? .newerFormat : .damaged
  }
}

/// Reads what a `VarintWriter` wrote; anything else is `damaged`. No bytes make it trap.
struct VarintReader {
  private let bytes: UnsafeRawBufferPointer
  private var place = 0

  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  var isAtEnd: Bool { place == bytes.count }
  var bytesLeft: Int { bytes.count - place }

  @inline(__always)
  mutating func next<I: UnsignedInteger & FixedWidthInteger>(_ type: I.Type = I.self) throws(Unreadable) -> I {
    // Most are small.
    if place < bytes.count, bytes[place] < 0x80 {
      place += 1
      return I(bytes[place - 1])
    }
    return try nextOfSeveralBytes()
  }

  private mutating func nextOfSeveralBytes<I: UnsignedInteger & FixedWidthInteger>() throws(Unreadable) -> I {
    var value: I = 0
    var shift = 0
    while place < bytes.count, shift < I.bitWidth {
      let byte = bytes[place]
      place += 1
      let part = I(truncatingIfNeeded: byte & 0x7f)
      // The last byte may hold more bits than there is room for.
      if shift + 7 > I.bitWidth, part >> I(I.bitWidth - shift) != 0 { throw .damaged }
      value |= part &<< I(truncatingIfNeeded: shift)
      if byte < 0x80 { return value }
      shift += 7
    }
    throw .damaged
  }

  /// A number that was never negative.
  mutating func int<I: FixedWidthInteger>(_ type: I.Type = I.self) throws(Unreadable) -> I {
    // Wide numbers are slow, and rare.
    let isWide = I.bitWidth > 64 && bytes[place...].prefix(9).allSatisfy { $0 >= 0x80 }
    let value = isWide ? I(exactly: try next(UInt128.self)) : I(exactly: try next(UInt64.self))
    guard let value else { throw .damaged }
    return value
  }

  mutating func text() throws(Unreadable) -> String {
    let count = try int(Int.self)
    guard count <= bytes.count - place else { throw .damaged }
    defer { place += count }
    return String(decoding: bytes[place..<place + count], as: UTF8.self)
  }

  mutating func fixed<I: FixedWidthInteger>(_ type: I.Type = I.self) throws(Unreadable) -> I {
    guard bytes.count - place >= MemoryLayout<I>.size else { throw .damaged }
    defer { place += MemoryLayout<I>.size }
    return I(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: I.self))
  }

  mutating func id() throws(Unreadable) -> InteractionID {
    InteractionID(high: try fixed(), low: try fixed())
  }
}
