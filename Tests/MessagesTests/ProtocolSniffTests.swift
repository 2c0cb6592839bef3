import Messages
import Testing

@Suite struct ProtocolSniffTests {
  @Test(
    arguments: [
      ("", .undecided), ("P", .undecided), ("PR", .undecided), ("PRI", .http2), ("PRI * HTTP/2.0\r\n", .http2),
      ("G", .http1), ("GET / HTTP/1.1", .http1), ("PO", .http1), ("POST", .http1), ("PUT", .http1), ("PRO", .http1),
      ("PRX", .http1), ("OPTIONS", .http1), ("A", .http1), ("Z", .http1),
      ("g", .unknown), ("pri", .unknown), ("@", .unknown), ("[", .unknown), (" ", .unknown), ("é", .unknown),
      ("\u{16}", .tls), ("\u{16}\u{3}\u{1}", .tls), ("\u{16}PRI", .tls), ("\u{15}", .unknown), ("\u{17}", .unknown),
      ("\0", .ttrpc), ("\0\0\0", .ttrpc), ("\0PRI", .ttrpc), ("\u{1}", .unknown),
    ] as [(String, ProtocolSniff)])
  func theFirstBytesTellTheProtocol(bytes: String, expected: ProtocolSniff) {
    #expect(ProtocolSniff(bytes.utf8) == expected)
  }

  @Test(arguments: 0...255 as ClosedRange<UInt8>) func oneByteDecidesAllButHTTP2(first: UInt8) {
    let decided = ProtocolSniff([first])
    switch first {
    case 0: #expect(decided == .ttrpc)
    case 0x16: #expect(decided == .tls)
    case UInt8(ascii: "P"): #expect(decided == .undecided)
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): #expect(decided == .http1)
    default: #expect(decided == .unknown)
    }
  }

  @Test func threeBytesAlwaysDecideAndMoreChangeNothing() {
    #expect(ProtocolSniff.bytesMax == 3)
    for second in 0...255 as ClosedRange<UInt8> {
      let bytes = [UInt8(ascii: "P"), second, UInt8(ascii: "I")]
      #expect(ProtocolSniff(bytes) == (second == UInt8(ascii: "R") ? .http2 : .http1))
      #expect(ProtocolSniff(bytes + [0, 1, 2]) == ProtocolSniff(bytes))
    }
  }
}
