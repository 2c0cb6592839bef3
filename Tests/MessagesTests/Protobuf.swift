// Protobuf's encoding (protobuf.dev/programming-guides/encoding), by hand: what the tests hold the
// generated code against. `field(N, …)` is one field of number N.

func varint(_ value: UInt64) -> [UInt8] {
  var (rest, bytes) = (value, [UInt8]())
  while rest > 0x7f {
    bytes.append(UInt8(rest & 0x7f) | 0x80)
    rest >>= 7
  }
  return bytes + [UInt8(rest)]
}

func field(_ number: UInt64, varint value: Int64) -> [UInt8] {
  varint(number << 3) + varint(UInt64(bitPattern: value))
}

func field(_ number: UInt64, double value: Double) -> [UInt8] {
  varint(number << 3 | 1) + (0..<8).map { UInt8(truncatingIfNeeded: value.bitPattern >> UInt64(8 * $0)) }
}

func field(_ number: UInt64, bytes: [UInt8]) -> [UInt8] {
  varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes
}

func field(_ number: UInt64, text: String) -> [UInt8] { field(number, bytes: Array(text.utf8)) }

/// The same two bytes, over and over.
func repeated(_ first: UInt8, _ second: UInt8, times: Int) -> [UInt8] {
  [UInt16](repeating: UInt16(littleEndian: UInt16(second) << 8 | UInt16(first)), count: times)
    .withUnsafeBytes { Array($0) }
}

/// What no protobuf string may hold: each byte sequence is not UTF-8.
let invalidUTF8: [[UInt8]] = [
  [0xff], [0x80], [0xc3], [0xc3, 0x28], [0xc0, 0x80], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80],
  Array("text".utf8) + [0xfe],
]
