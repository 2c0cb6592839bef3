import Messages

/// The headers of a request, or its trailers, held one by one against what HTTP/2 asks of them (RFC 9113, sections 8.2
/// and 8.3). Pure.
///
/// nghttp2 checks the same, but also that an `:authority` is one by RFC 3986. Older clients of gRPC name the path of
/// their Unix socket there, so any visible ASCII is taken.
struct RequestHeaders {
  private enum Method { case connect, options, other }
  private enum Path { case absolute, asterisk, other }
  private enum Scheme { case http, other }

  private let areTrailers: Bool
  private var method: Method?
  private var scheme: Scheme?
  private var path: Path?
  private var hasAuthority = false
  private var hasHost = false
  /// Pseudo-headers come before all others.
  private var hasRegular = false
  private(set) var contentLength: Int?

  init(areTrailers: Bool = false) {
    self.areTrailers = areTrailers
  }

  /// - Returns: whether the next header is well-formed where it stands.
  mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
    if name.first == UInt8(ascii: ":") { return !areTrailers && !hasRegular && addPseudo(name, value) }
    hasRegular = true
    return HeaderText.isName(name) && HeaderText.isValue(value) && addRegular(name, value)
  }

  /// Each of them comes once, and is not empty.
  private mutating func addPseudo(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
    switch name.count {
    case 5 where name.isEqual(to: ":path"):
      guard path == nil, HeaderText.isPath(value) else { return false }
      path = value.first == UInt8(ascii: "/") ? .absolute : value.isEqual(to: "*") ? .asterisk : .other
    case 7 where name.isEqual(to: ":method"):
      guard method == nil, HeaderText.isToken(value) else { return false }
      method = value.isEqual(to: "CONNECT") ? .connect : value.isEqual(to: "OPTIONS") ? .options : .other
    case 7 where name.isEqual(to: ":scheme"):
      guard scheme == nil, HeaderText.isScheme(value) else { return false }
      scheme =
        HeaderText.isEqual(value, lowercase: "http") || HeaderText.isEqual(value, lowercase: "https") ? .http : .other
    case 10 where name.isEqual(to: ":authority"):
      guard !hasAuthority, HeaderText.isVisibleASCII(value) else { return false }
      hasAuthority = true
    default: return false
    }
    return true
  }

  private mutating func addRegular(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
    switch name.count {
    case 2 where name.isEqual(to: "te"): return HeaderText.isEqual(value, lowercase: "trailers")
    case 4 where name.isEqual(to: "host"):
      guard !hasHost, HeaderText.isVisibleASCII(value) else { return false }
      hasHost = true
    case 14 where name.isEqual(to: "content-length"):
      guard !areTrailers, contentLength == nil, let length = HeaderText.number(value) else { return false }
      contentLength = length
    // What concerns the connection is HTTP/1's.
    case 7 where name.isEqual(to: "upgrade"), 10 where name.isEqual(to: "connection"),
      10 where name.isEqual(to: "keep-alive"), 16 where name.isEqual(to: "proxy-connection"),
      17 where name.isEqual(to: "transfer-encoding"):
      return false
    default: break
    }
    return true
  }

  /// Whether nothing is missing, all being there.
  ///
  /// - Parameter isLast: they end the stream.
  func areComplete(isLast: Bool) -> Bool {
    if areTrailers { return isLast }
    if isLast, contentLength ?? 0 > 0 { return false }
    if method == .connect { return hasAuthority && scheme == nil && path == nil }
    guard let method, let scheme, let path, hasAuthority || hasHost else { return false }
    return scheme == .other || path == .absolute || path == .asterisk && method == .options
  }
}

/// Which bytes may stand where in headers.
private enum HeaderText {
  /// RFC 9110, section 5.6.2, in lower case (RFC 9113, section 8.2).
  static func isName(_ text: UnsafeRawBufferPointer) -> Bool {
    !text.isEmpty && text.allSatisfy(isLowercaseTokenByte)
  }

  static func isToken(_ text: UnsafeRawBufferPointer) -> Bool {
    !text.isEmpty && text.allSatisfy { isLowercaseTokenByte($0) || isUppercase($0) }
  }

  private static func isLowercaseTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
      UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"),
      UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "^"), UInt8(ascii: "`"),
      UInt8(ascii: "|"), UInt8(ascii: "~"):
      true
    default: false
    }
  }

  private static func isUppercase(_ byte: UInt8) -> Bool { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) }

  /// RFC 9110, section 5.5: visible characters, also beyond ASCII, spaces and tabs. A value such as `Bearer ` is for its
  /// reader to judge.
  static func isValue(_ text: UnsafeRawBufferPointer) -> Bool {
    // It does not end at the first wrong byte, so that the compiler takes many at once.
    var areControls: UInt8 = 0
    for byte in text { areControls |= (byte < 0x20 && byte != 0x09) || byte == 0x7f ? 1 : 0 }
    return areControls == 0
  }

  static func isPath(_ text: UnsafeRawBufferPointer) -> Bool {
    !text.isEmpty && text.allSatisfy { $0 > 0x20 && $0 != 0x7f }
  }

  static func isVisibleASCII(_ text: UnsafeRawBufferPointer) -> Bool {
    !text.isEmpty && text.allSatisfy { $0 > 0x20 && $0 < 0x7f }
  }

  /// RFC 3986, section 3.1.
  static func isScheme(_ text: UnsafeRawBufferPointer) -> Bool {
    guard let first = text.first, isLetter(first) else { return false }
    return text.allSatisfy { byte in
      isLetter(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "+")
        || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
    }
  }

  private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }

  /// Letters of either case are equal.
  static func isEqual(_ text: UnsafeRawBufferPointer, lowercase: StaticString) -> Bool {
    guard text.count == lowercase.utf8CodeUnitCount else { return false }
    return text.indices.allSatisfy { place in
      let byte = text[place]
      return (isUppercase(byte) ? byte | 0x20 : byte) == lowercase.utf8Start[place]
    }
  }

  /// Digits alone.
  static func number(_ text: UnsafeRawBufferPointer) -> Int? {
    guard !text.isEmpty, text.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains) else { return nil }
    return Int(String(decoding: text, as: UTF8.self))
  }
}
