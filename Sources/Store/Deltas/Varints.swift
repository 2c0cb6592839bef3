import Domain

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

/// Reads what a `VarintWriter` wrote; anything else is `unexpectedAnswer`.
struct VarintReader {
  private let bytes: UnsafeRawBufferPointer
  private var place = 0

  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  var isAtEnd: Bool { place == bytes.count }

  @inline(__always)
  mutating func next<I: UnsignedInteger & FixedWidthInteger>(_ type: I.Type = I.self) throws(PostgresError) -> I {
    // Most are small.
    if place < bytes.count, bytes[place] < 0x80 {
      place += 1
      return I(bytes[place - 1])
    }
    return try nextOfSeveralBytes()
  }

  private mutating func nextOfSeveralBytes<I: UnsignedInteger & FixedWidthInteger>() throws(PostgresError) -> I {
    var value: I = 0
    var shift = 0
    while place < bytes.count, shift < I.bitWidth {
      let byte = bytes[place]
      place += 1
      value |= I(byte & 0x7f) << I(shift)
      if byte < 0x80 { return value }
      shift += 7
    }
    throw malformed
  }

  /// A number that was never negative.
  mutating func int<I: FixedWidthInteger>(_ type: I.Type = I.self) throws(PostgresError) -> I {
    // Wide numbers are slow, and rare.
    let isWide = I.bitWidth > 64 && bytes[place...].prefix(9).allSatisfy { $0 >= 0x80 }
    let value = isWide ? I(exactly: try next(UInt128.self)) : I(exactly: try next(UInt64.self))
    guard let value else { throw malformed }
    return value
  }

  mutating func text() throws(PostgresError) -> String {
    let count = try int(Int.self)
    guard count <= bytes.count - place else { throw malformed }
    defer { place += count }
    return String(decoding: bytes[place..<place + count], as: UTF8.self)
  }

  mutating func fixed<I: FixedWidthInteger>(_ type: I.Type = I.self) throws(PostgresError) -> I {
    guard bytes.count - place >= MemoryLayout<I>.size else { throw malformed }
    defer { place += MemoryLayout<I>.size }
    return I(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: I.self))
  }

  mutating func id() throws(PostgresError) -> InteractionID {
    InteractionID(high: try fixed(), low: try fixed())
  }

  private var malformed: PostgresError {
    PostgresError(kind: .unexpectedAnswer, message: "what was kept for statistics is not of its form")
  }
}
