public import Core

/// The headers of a gRPC request, read (gRPC over HTTP2, Requests).
public struct GRPCRequestHead: Sendable {
  public var service: String
  public var method: String
  /// Without what is HTTP's or gRPC's own. Values of `-bin` keys are still in base64.
  public var metadata = Metadata()
  /// nil: the caller did not say.
  public var timeout: Duration?
  /// How the request's messages may be compressed.
  public var encoding: Compression?
  /// How the caller takes compressed answers; nil: it did not say.
  public var accepts: Set<Compression>?

  /// Why a request is refused before it is a call.
  public enum Refusal: Error, Sendable {
    /// With a bare HTTP status: this is no gRPC.
    case http(status: Int)
    case rpc(RPCError)
    /// UNIMPLEMENTED, naming the encodings that are.
    case encoding(RPCError)
  }

  public init(_ headers: some Sequence<(name: String, value: String)>) throws(Refusal) {
    var reader = GRPCHeadReader()
    for (name, value) in headers {
      Array(name.utf8).withUnsafeBytes { name in Array(value.utf8).withUnsafeBytes { reader.add(name, $0) } }
    }
    self = try reader.finish()
  }

  init(service: String, method: String) {
    self.service = service
    self.method = method
  }

  /// The value of `grpc-accept-encoding`.
  public static let acceptEncoding = (["identity"] + Compression.allCases.map(\.rawValue)).joined(separator: ",")
}

/// The value of `grpc-timeout`.
public enum GRPCTimeout {
  /// 1 to 8 digits and a unit.
  public static func parse(_ text: String) -> Duration? {
    let digits = text.utf8.dropLast()
    guard (1...8).contains(digits.count), digits.allSatisfy({ (48...57).contains($0) }) else { return nil }
    let count = digits.reduce(Int64(0)) { $0 * 10 + Int64($1 - 48) }
    switch text.utf8.last {
    case UInt8(ascii: "H"): return .seconds(count * 3600)
    case UInt8(ascii: "M"): return .seconds(count * 60)
    case UInt8(ascii: "S"): return .seconds(count)
    case UInt8(ascii: "m"): return .milliseconds(count)
    case UInt8(ascii: "u"): return .microseconds(count)
    case UInt8(ascii: "n"): return .nanoseconds(count)
    default: return nil
    }
  }
}

/// The value of `grpc-message`: printable ASCII as it is, anything else and % percent-encoded.
public enum GRPCStatusMessage {
  public static func encode(_ message: String) -> String {
    guard message.utf8.contains(where: { !isPlain($0) }) else { return message }
    var encoded = ""
    for byte in message.utf8 {
      if isPlain(byte) {
        encoded.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        encoded += (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
      }
    }
    return encoded
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    (0x20...0x7e).contains(byte) && byte != UInt8(ascii: "%")
  }
}

extension RPCError {
  public static func methodUnknown(service: String, method: String) -> RPCError {
    RPCError(
      .unimplemented, .methodUnknown,
      "there is no method \(excerpt(of: method)) of service \(excerpt(of: service)); the service is \(MethodName.interactionService)"
    )
  }

  /// A caller's name for something as an error may repeat it. By scalars, for a character may be of
  /// any length.
  package static func excerpt(of name: String) -> String { String(name.unicodeScalars.prefix(64)) }

  /// As the same thing is told on any protocol.
  public init(_ error: GRPCStreamError) {
    switch error {
    case .malformed(let message): self.init(.internal, .requestMalformed, message)
    case .messageTooLarge(let bytes): self = .messageTooLarge(bytes: bytes)
    }
  }
}
