import Domain
import NIOHPACK

extension RPCError {
  /// From the trailers of a gRPC call that did not end well.
  init(grpcTrailers trailers: HPACKHeaders) {
    guard let status = trailers.first(name: "grpc-status") else {
      let http = trailers.first(name: ":status").map { "HTTP status \($0)" } ?? "no status"
      self.init(.unknown, .requestMalformed, "the answer ended with \(http) and without a grpc-status")
      return
    }
    let message = trailers.first(name: "grpc-message") ?? ""
    self.init(Int32(status).flatMap(Code.init(rawValue:)) ?? .unknown, Reason(rawValue: ""), message.percentDecoded)
  }
}

extension String {
  /// gRPC over HTTP2, Status-Message.
  fileprivate var percentDecoded: String {
    var bytes: [UInt8] = []
    var rest = utf8[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(2)
      guard byte == UInt8(ascii: "%"), let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) else {
        bytes.append(byte)
        continue
      }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
