/// A UUIDv7 (RFC 9562, section 5.7). Its first 48 bits are the interaction's time in milliseconds, so
/// one value is identity, time order and page cursor. Ordered as PostgreSQL orders `uuid`.
public struct InteractionID: Hashable, Comparable, Sendable {
  /// The 128 bits, most significant first.
  public let high: UInt64
  public let low: UInt64

  /// Any 128 bits: for bounds of ranges and for rows the database hands back.
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// A new id at that time; its 74 free bits are random.
  public init(at time: Timestamp) {
    self.init(at: time, bits: .random(in: .min ... .max), .random(in: .min ... .max))
  }

  /// The id of a caller's own request id at that time: the same for every retry. The free bits are
  /// the first of a SHA-256 over both.
  public init(at time: Timestamp, requestID: String) {
    let (a, b): (UInt64, UInt64) = SHA256.hash(Array("parley request_id\0\(time.milliseconds)\0\(requestID)".utf8))
    self.init(at: time, bits: a, b)
  }

  private init(at time: Timestamp, bits a: UInt64, _ b: UInt64) {
    self.high = UInt64(time.milliseconds) << 16 | 0x7000 | a & 0x0fff
    self.low = 1 << 63 | b >> 2
  }

  /// The least value an id of that time or later can have; times before 1970 count as 1970, times
  /// past the 48 bits as the last of them.
  public init(lowerBound time: Timestamp) {
    self.high = UInt64(min(max(time.milliseconds, 0), Self.millisecondsMax)) << 16
    self.low = 0
  }

  static let millisecondsMax: Int64 = 1 << 48 - 1

  public var time: Timestamp { Timestamp(milliseconds: Int64(high >> 16)) }

  /// Version 7 and the variant of RFC 9562.
  public var isVersion7: Bool { high >> 12 & 0xf == 7 && low >> 62 == 0b10 }

  public static func < (a: InteractionID, b: InteractionID) -> Bool {
    (a.high, a.low) < (b.high, b.low)
  }
}

extension InteractionID: LosslessStringConvertible {
  /// From the 36-character form, in either case. Any UUID is read; `isVersion7` says if it is an id.
  public init?(_ description: String) {
    var description = description
    let parsed: (UInt64, UInt64)? = description.withUTF8 { text in
      guard text.count == 36 else { return nil }
      var (high, low, digits): (UInt64, UInt64, Int) = (0, 0, 0)
      for (place, character) in text.enumerated() {
        if place == 8 || place == 13 || place == 18 || place == 23 {
          guard character == UInt8(ascii: "-") else { return nil }
          continue
        }
        guard let digit = hexDigit(character) else { return nil }
        if digits < 16 { high = high << 4 | digit } else { low = low << 4 | digit }
        digits += 1
      }
      return (high, low)
    }
    guard let (high, low) = parsed else { return nil }
    self.init(high: high, low: low)
  }

  public var description: String {
    String(unsafeUninitializedCapacity: 36) { text in
      var place = 0
      for index in 0..<32 {
        if index == 8 || index == 12 || index == 16 || index == 20 {
          text[place] = UInt8(ascii: "-")
          place += 1
        }
        let word = index < 16 ? high : low
        let digit = UInt8(word >> UInt64(60 - index % 16 * 4) & 0xf)
        text[place] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit
        place += 1
      }
      return 36
    }
  }
}

private func hexDigit(_ character: UInt8) -> UInt64? {
  switch character {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(character - UInt8(ascii: "0"))
  case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(character - UInt8(ascii: "a") + 10)
  case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(character - UInt8(ascii: "A") + 10)
  default: nil
  }
}
