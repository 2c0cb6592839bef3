/// Which protocol a connection speaks, told by its first bytes: at most three, and no more of them
/// than there are, for some HTTP/2 clients wait for the server to speak next.
public enum ProtocolSniff: Hashable, Sendable {
  /// The first byte of a ttRPC frame is the top of its length, zero for every length allowed.
  case ttrpc
  /// `PRI`, the HTTP/2 connection preface (RFC 9113, section 3.4).
  case http2
  /// A TLS handshake record (RFC 8446, section 5.1).
  case tls
  /// A method name: HTTP/1.1.
  case http1
  case unknown
  /// The bytes so far fit more than one.
  case undecided

  public static let bytesMax = 3

  public init(_ bytes: some Collection<UInt8>) {
    let letters = UInt8(ascii: "A")...UInt8(ascii: "Z")
    let preface = "PRI".utf8
    self =
      switch bytes.first {
      case nil: .undecided
      case 0x00: .ttrpc
      case 0x16: .tls
      case _ where bytes.count < preface.count && preface.starts(with: bytes): .undecided
      case _ where bytes.starts(with: preface): .http2
      case let first? where letters.contains(first): .http1
      default: .unknown
      }
  }
}
