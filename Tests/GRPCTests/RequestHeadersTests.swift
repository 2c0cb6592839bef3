import Testing

@testable import RPC

/// What HTTP/2 asks of a request's headers and trailers (RFC 9113, sections 8.2 and 8.3).
struct RequestHeadersTests {
  typealias Field = (name: String, value: String)

  private static let method: Field = (":method", "POST")
  private static let scheme: Field = (":scheme", "http")
  private static let path: Field = (":path", "/a/B")
  private static let authority: Field = (":authority", "test")
  private static let pseudo = [method, scheme, path, authority]
  private static let right = pseudo + [("te", "trailers"), ("content-type", "application/grpc")]

  /// Whether they are taken, each of them and all together.
  private func areTaken(_ fields: [Field], areTrailers: Bool = false, isLast: Bool = false) -> Bool {
    var headers = RequestHeaders(areTrailers: areTrailers)
    for (name, value) in fields {
      let isTaken = Array(name.utf8).withUnsafeBytes { name in
        Array(value.utf8).withUnsafeBytes { headers.add(name, $0) }
      }
      guard isTaken else { return false }
    }
    return headers.areComplete(isLast: isLast)
  }

  /// The right headers with one of them replaced.
  private func areTaken(_ name: String, _ value: String, _ more: [Field] = []) -> Bool {
    areTaken(Self.right.map { $0.name == name ? (name, value) : $0 } + more)
  }

  @Test func rightOnesAreTaken() {
    #expect(areTaken(Self.right) && areTaken(Self.right, isLast: true) && areTaken(Self.pseudo.reversed()))
  }

  @Test(
    arguments: [
      "/run/p.sock", "%2Frun%2Fp.sock", "unix:/run/p.sock", "localhost", "parley.internal:7310", "[::1]:7310", "a@b",
      "\\pipe\\p", "\"<a>^`{b}|", "/", "!~",
    ]) func anyAuthorityOfVisibleASCIIIsTaken(authority: String)
  {
    #expect(areTaken(":authority", authority))
    #expect(areTaken([Self.method, Self.scheme, Self.path, ("host", authority)]))
  }

  @Test(arguments: ["", " ", "a b", "a\u{0}", "a\n", "a\u{7f}", "é"]) func otherAuthoritiesAreRefused(authority: String)
  {
    #expect(!areTaken(":authority", authority))
    #expect(!areTaken([Self.method, Self.scheme, Self.path, ("host", authority)]))
  }

  @Test(arguments: 0..<4) func missingPseudoHeaderIsRefused(missing: Int) {
    var headers = Self.pseudo
    headers.remove(at: missing)
    #expect(!areTaken(headers))
  }

  @Test(arguments: 0..<4) func pseudoHeaderThatComesTwiceIsRefused(twice: Int) {
    #expect(!areTaken(Self.pseudo + [Self.pseudo[twice]]))
  }

  @Test(arguments: 0..<4) func pseudoHeaderBehindOthersIsRefused(late: Int) {
    var headers = Self.pseudo
    let field = headers.remove(at: late)
    #expect(!areTaken(headers + [("x", "y"), field]))
  }

  @Test(arguments: [":unknown", ":protocol", ":status", ":", ":Path"]) func unknownPseudoHeaderIsRefused(name: String) {
    #expect(!areTaken([(name, "1")] + Self.pseudo))
  }

  @Test func hostStandsInForTheAuthorityAndComesOnce() {
    let host: Field = ("host", "test")
    #expect(areTaken(Self.right + [host]) && !areTaken(Self.right + [host, host]))
  }

  @Test func methodIsAToken() {
    for method in ["GET", "post", "M-SEARCH", "!"] { #expect(areTaken(":method", method), "\(method)") }
    for method in ["", "PO ST", "POST\n", "PÖST", "A/B"] { #expect(!areTaken(":method", method), "\(method)") }
  }

  @Test func schemeIsOne() {
    for scheme in ["https", "HTTP", "coap+tcp", "a1.-"] { #expect(areTaken(":scheme", scheme), "\(scheme)") }
    for scheme in ["", "1a", "+a", "ht tp", "http:", "é"] { #expect(!areTaken(":scheme", scheme), "\(scheme)") }
  }

  @Test func pathIsAbsolute() {
    for path in ["/", "//", "/a/b/c", "/a?b=c", "/é/☺"] { #expect(areTaken(":path", path), "\(path)") }
    for path in ["", "a/b", "*", "/a b", "/a\t", "/\u{0}", "/\u{7f}"] { #expect(!areTaken(":path", path), "\(path)") }
    // A scheme of its own has paths of its own.
    #expect(areTaken([Self.method, (":scheme", "urn"), (":path", "a:b"), Self.authority]))
  }

  @Test func optionsAsksOfTheWholeServer() {
    #expect(areTaken([(":method", "OPTIONS"), Self.scheme, (":path", "*"), Self.authority]))
  }

  @Test func connectHasAnAuthorityAlone() {
    let connect: Field = (":method", "CONNECT")
    #expect(areTaken([connect, Self.authority]) && !areTaken([connect]))
    #expect(!areTaken([connect, Self.authority, Self.scheme]) && !areTaken([connect, Self.authority, Self.path]))
  }

  @Test(arguments: ["", "Upper", "a b", "a\u{0}", "a:b", "a\u{7f}", "é", "a(b)", "a\"", "a/b", "a@b"])
  func wrongNameIsRefused(name: String) {
    #expect(!areTaken(Self.right + [(name, "1")]) && !areTaken([(name, "1")], areTrailers: true, isLast: true))
  }

  @Test func nameOfAnyTokenIsTaken() {
    #expect(areTaken(Self.right + [("!#$%&'*+-.^_`|~09az", "1")]))
  }

  @Test func valueHasNoControls() {
    for byte in (0..<0x20).map({ UInt8($0) }) + [0x7f] where byte != UInt8(ascii: "\t") {
      for text in ["", "a", String(repeating: "x", count: 40)] {
        let value = text + String(UnicodeScalar(byte)) + text
        #expect(!areTaken(Self.right + [("x", value)]), "\(byte)")
        #expect(!areTaken([("x", value)], areTrailers: true, isLast: true), "\(byte)")
      }
    }
    for value in ["", " ", "Bearer ", "a\tb", "é☺", " !~"] {
      #expect(areTaken(Self.right + [("x", value)]), "\(value)")
    }
  }

  @Test(arguments: ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"])
  func whatConcernsTheConnectionIsRefused(name: String) {
    #expect(!areTaken(Self.right + [(name, "x")]) && !areTaken([(name, "x")], areTrailers: true, isLast: true))
    #expect(areTaken(Self.right + [("x-" + name, "x")]))
  }

  @Test func teIsTrailers() {
    #expect(areTaken("te", "Trailers"))
    for value in ["", "gzip", "trailers, gzip", "trailer"] { #expect(!areTaken("te", value), "\(value)") }
  }

  @Test func contentLengthIsANumberAndComesOnce() {
    for value in ["0", "3", "0003", "9223372036854775807"] {
      #expect(areTaken(Self.right + [("content-length", value)]), "\(value)")
    }
    for value in ["", "-1", "+1", "1 ", "1,1", "0x1", "9223372036854775808"] {
      #expect(!areTaken(Self.right + [("content-length", value)]), "\(value)")
    }
    #expect(!areTaken(Self.right + [("content-length", "3"), ("content-length", "3")]))
  }

  @Test func requestWithoutContentTellsOfNone() {
    #expect(areTaken(Self.right + [("content-length", "0")], isLast: true))
    #expect(!areTaken(Self.right + [("content-length", "3")], isLast: true))
  }

  @Test func trailersEndTheStreamAndHaveNoPseudoHeaders() {
    #expect(areTaken([("x", "y")], areTrailers: true, isLast: true) && areTaken([], areTrailers: true, isLast: true))
    #expect(!areTaken([("x", "y")], areTrailers: true))
    for field in Self.pseudo { #expect(!areTaken([field], areTrailers: true, isLast: true), "\(field.name)") }
    #expect(!areTaken([("content-length", "0")], areTrailers: true, isLast: true))
  }

  // MARK: Content

  @Test func contentIsAsLongAsWasTold() {
    var content = AnnouncedContent()
    content.announce(5, on: 1)
    #expect(content.take(3, on: 1) && !content.isWhole(on: 1))
    #expect(content.take(2, on: 1) && content.isWhole(on: 1))
    #expect(!content.take(1, on: 1) && !content.isWhole(on: 1))
    #expect(content.take(0, on: 1) == false)
    // Nothing was told of another.
    #expect(content.take(1000, on: 3) && content.isWhole(on: 3))
    content.forget(1)
    #expect(content.take(1, on: 1) && content.isWhole(on: 1))
  }
}
