/// The fields of an encoded protobuf message, for the few messages of `grpc.testing`.
struct Fields {
  private var numbers: [UInt64: UInt64] = [:]
  private var values: [UInt64: [ArraySlice<UInt8>]] = [:]

  /// nil when the bytes are no message.
  init?(_ bytes: some Collection<UInt8>) {
    var rest = Array(bytes)[...]
    while !rest.isEmpty {
      guard let key = Self.varint(&rest) else { return nil }
      switch key & 7 {
      case 0:
        guard let number = Self.varint(&rest) else { return nil }
        numbers[key >> 3] = number
      case 2:
        guard let count = Self.varint(&rest), count <= UInt64(rest.count) else { return nil }
        values[key >> 3, default: []].append(rest.prefix(Int(count)))
        rest = rest.dropFirst(Int(count))
      default: return nil
      }
    }
  }

  private static func varint(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      guard let byte = bytes.popFirst() else { return nil }
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
    }
    return nil
  }

  func number(_ field: UInt64) -> Int { Int(truncatingIfNeeded: numbers[field] ?? 0) }
  func bytes(_ field: UInt64) -> ArraySlice<UInt8> { values[field]?.last ?? [] }
  func text(_ field: UInt64) -> String { String(decoding: bytes(field), as: UTF8.self) }
  func message(_ field: UInt64) -> Fields? { values[field]?.last.flatMap { Fields($0) } }
  func messages(_ field: UInt64) -> [Fields] { (values[field] ?? []).compactMap { Fields($0) } }
}

/// Writes fields of a message.
enum Encoded {
  static func number(_ field: UInt64, _ value: Int) -> [UInt8] {
    varint(field << 3) + varint(UInt64(truncatingIfNeeded: value))
  }

  static func bytes(_ field: UInt64, _ value: [UInt8]) -> [UInt8] {
    varint(field << 3 | 2) + varint(UInt64(value.count)) + value
  }

  private static func varint(_ value: UInt64) -> [UInt8] {
    var value = value
    var bytes: [UInt8] = []
    while value >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
      value >>= 7
    }
    return bytes + [UInt8(value)]
  }
}
