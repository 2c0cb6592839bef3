import Foundation

/// Base64 as gRPC's `-bin` metadata has it: written without padding, read with or without
/// (gRPC over HTTP2, Custom-Metadata).
enum Base64 {
  static func encode(_ bytes: [UInt8]) -> String {
    String(Data(bytes).base64EncodedString().prefix { $0 != "=" })
  }

  static func decode(_ text: String) -> [UInt8]? {
    let padding = String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
    return Data(base64Encoded: text.hasSuffix("=") ? text : text + padding).map(Array.init)
  }
}
