import Core

/// A JSON value (RFC 8259) of a token's header or claims, read strictly: Foundation keeps one of two members of the
/// same name, and which one a signer meant nobody can tell (RFC 7519, section 4).
package enum TokenJSON: Equatable {
  case null
  case bool(Bool)
  case number(Double)
  case text(String)
  case list([TokenJSON])
  case object([String: TokenJSON])

  /// What is wrong with the bytes, to be read after what they are.
  package enum Failure: Error, Equatable {
    case malformed
    case tooDeep
    case duplicate(String)
  }

  init(_ bytes: [UInt8]) throws(Failure) {
    var reader = Reader(bytes: bytes)
    self = try reader.value(depth: 0)
    reader.skipSpace()
    guard reader.isAtEnd else { throw .malformed }
  }

  /// What is wrong with the bytes; nil where nothing is.
  package static func mistake(_ bytes: [UInt8]) -> Failure? {
    do throws(Failure) {
      _ = try TokenJSON(bytes)
      return nil
    } catch {
      return error
    }
  }

  /// Its kind, in words.
  var kind: String {
    switch self {
    case .null: "null"
    case .bool: "true or false"
    case .number: "a number"
    case .text: "a text"
    case .list: "a list"
    case .object: "an object"
    }
  }
}

private struct Reader {
  let bytes: [UInt8]
  var place = 0

  var isAtEnd: Bool { place == bytes.count }

  private var next: UInt8? { place < bytes.count ? bytes[place] : nil }

  mutating func skipSpace() {
    while let byte = next, [0x20, 0x09, 0x0a, 0x0d].contains(byte) { place += 1 }
  }

  private mutating func take(_ text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    guard bytes.count - place >= count, (0..<count).allSatisfy({ bytes[place + $0] == text.utf8Start[$0] }) else {
      return false
    }
    place += count
    return true
  }

  private mutating func expect(_ text: StaticString) throws(TokenJSON.Failure) {
    guard take(text) else { throw .malformed }
  }

  mutating func value(depth: Int) throws(TokenJSON.Failure) -> TokenJSON {
    guard depth < Limits.tokenNestingMax else { throw .tooDeep }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return .object(try object(depth))
    case UInt8(ascii: "["): return .list(try list(depth))
    case UInt8(ascii: "\""): return .text(try text())
    case UInt8(ascii: "t"):
      try expect("true")
      return .bool(true)
    case UInt8(ascii: "f"):
      try expect("false")
      return .bool(false)
    case UInt8(ascii: "n"):
      try expect("null")
      return .null
    default: return .number(try number())
    }
  }

  private mutating func object(_ depth: Int) throws(TokenJSON.Failure) -> [String: TokenJSON] {
    try expect("{")
    var members: [String: TokenJSON] = [:]
    skipSpace()
    if take("}") { return members }
    repeat {
      skipSpace()
      let name = try text()
      skipSpace()
      try expect(":")
      guard members.updateValue(try value(depth: depth + 1), forKey: name) == nil else { throw .duplicate(name) }
      skipSpace()
    } while take(",")
    try expect("}")
    return members
  }

  private mutating func list(_ depth: Int) throws(TokenJSON.Failure) -> [TokenJSON] {
    try expect("[")
    var values: [TokenJSON] = []
    skipSpace()
    if take("]") { return values }
    repeat {
      values.append(try value(depth: depth + 1))
      skipSpace()
    } while take(",")
    try expect("]")
    return values
  }

  private mutating func text() throws(TokenJSON.Failure) -> String {
    try expect("\"")
    var text: [UInt8] = []
    while let byte = next {
      place += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: text, as: UTF8.self) else { throw .malformed }
        return text
      case UInt8(ascii: "\\"): try escape(&text)
      case 0..<0x20: throw .malformed
      default: text.append(byte)
      }
    }
    throw .malformed
  }

  private mutating func escape(_ text: inout [UInt8]) throws(TokenJSON.Failure) {
    guard let byte = next else { throw .malformed }
    place += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0c)
    case UInt8(ascii: "n"): text.append(0x0a)
    case UInt8(ascii: "r"): text.append(0x0d)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"): text += UTF8.encode(try scalar())!
    default: throw .malformed
    }
  }

  /// After `\u`; past 16 bits there are two of them, halves of one (section 7).
  private mutating func scalar() throws(TokenJSON.Failure) -> Unicode.Scalar {
    let unit = try unit()
    if let scalar = Unicode.Scalar(unit) { return scalar }
    guard unit < 0xdc00, take("\\u") else { throw .malformed }
    let low = try self.unit()
    guard (0xdc00..<0xe000).contains(low), let scalar = Unicode.Scalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))
    else { throw .malformed }
    return scalar
  }

  private mutating func unit() throws(TokenJSON.Failure) -> UInt32 {
    guard bytes.count - place >= 4 else { throw .malformed }
    var unit: UInt32 = 0
    for byte in bytes[place..<place + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { throw .malformed }
      unit = unit << 4 + UInt32(digit)
    }
    place += 4
    return unit
  }

  private mutating func number() throws(TokenJSON.Failure) -> Double {
    let start = place
    _ = take("-")
    if !take("0") { try digits() }
    if take(".") { try digits() }
    if take("e") || take("E") {
      if !take("-") { _ = take("+") }
      try digits()
    }
    guard let number = Double(String(decoding: bytes[start..<place], as: UTF8.self)), number.isFinite else {
      throw .malformed
    }
    return number
  }

  private mutating func digits() throws(TokenJSON.Failure) {
    let start = place
    while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { place += 1 }
    guard place > start else { throw .malformed }
  }
}
