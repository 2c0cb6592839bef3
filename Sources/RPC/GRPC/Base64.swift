/// Base64 as gRPC's `-bin` metadata has it: without padding (gRPC over HTTP2, Custom-Metadata).
enum Base64 {
  private static let digits: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

  /// By hand, for every error of a call is told so, and Foundation's would have to be looked through for padding.
  static func encode(_ bytes: [UInt8]) -> String {
    let count = (bytes.count * 4 + 2) / 3
    let digits = digits.utf8Start
    return String(unsafeUninitializedCapacity: count) { text in
      var place = 0
      for start in stride(from: 0, to: bytes.count, by: 3) {
        let left = min(bytes.count - start, 3)
        let second = left > 1 ? UInt32(bytes[start + 1]) : 0
        let third = left > 2 ? UInt32(bytes[start + 2]) : 0
        let bits = UInt32(bytes[start]) << 16 | second << 8 | third
        for digit in 0...left {
          text[place] = digits[Int(bits >> UInt32(18 - 6 * digit) & 63)]
          place += 1
        }
      }
      return place
    }
  }
}
