import Foundation

/// Base64 as gRPC's `-bin` metadata has it: without padding (gRPC over HTTP2, Custom-Metadata).
enum Base64 {
  static func encode(_ bytes: [UInt8]) -> String {
    String(Data(bytes).base64EncodedString().prefix { $0 != "=" })
  }
}
