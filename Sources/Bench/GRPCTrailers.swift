import Core
import Messages

/// How a gRPC call ended, as its trailers tell it.
struct GRPCTrailers {
  private var status: Int32?
  private var message = ""
  private var httpStatus: Int?

  mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
    switch name.count {
    case 7 where name.isEqual(to: ":status"): httpStatus = value.reduce(0) { ($0 * 10 + Int($1 & 0x0f)) % 1000 }
    case 11 where name.isEqual(to: "grpc-status"):
      status =
        value.isEqual(to: "0") ? 0 : Int32(String(decoding: value, as: UTF8.self)) ?? RPCError.Code.unknown.rawValue
    case 12 where name.isEqual(to: "grpc-message"): message = String(decoding: value, as: UTF8.self)
    default: break
    }
  }

  var isOK: Bool { status == 0 }

  /// Of a call that did not end well.
  var error: RPCError {
    guard let status else {
      let http = httpStatus.map { "HTTP status \($0)" } ?? "no status"
      return RPCError(.unknown, .requestMalformed, "the answer ended with \(http) and without a grpc-status")
    }
    return RPCError(RPCError.Code(rawValue: status) ?? .unknown, RPCError.Reason(rawValue: ""), message.percentDecoded)
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
