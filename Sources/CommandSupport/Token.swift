import Core
import Foundation

/// A token as a command sends it.
package struct Token: Sendable {
  package let text: String

  /// - Parameter origin: where the token was given: a flag, a file or an environment variable.
  package init(_ text: String, from origin: String) throws {
    let text = text.trimmingCharacters(in: .whitespacesAndNewlines)
    guard !text.isEmpty else { throw CommandFailure("\(origin) is empty; parley token mints a token") }
    // The service says what is wrong with any other token; this one could not even be sent.
    guard text.utf8.count <= Limits.metadataBytesMax, text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw CommandFailure(
        "\(origin) holds no token: a token has at most \(Limits.tokenBytesMax) bytes, which are letters, digits and punctuation; parley token mints one"
      )
    }
    self.text = text
  }

  /// The tenant it names; nil where it names none. Nobody has checked the signature: it is good for a message, and for
  /// nothing that must be true.
  package var tenant: String? {
    struct Claims: Decodable {
      var tenant: String?
      var tenantId: String?
    }
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3 else { return nil }
    let base64 = parts[1].replacing("-", with: "+").replacing("_", with: "/")
    let padding = String(repeating: "=", count: (4 - base64.count % 4) % 4)
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let claims = Data(base64Encoded: base64 + padding).flatMap { try? decoder.decode(Claims.self, from: $0) }
    return claims?.tenant ?? claims?.tenantId
  }
}
