public import Foundation
import JWTKit

/// The claims of a token that Parley mints for development.
public struct TokenPayload: Encodable {
  private var exp: Int64
  private var iss: String?
  private var aud: String?
  private var tenant: String
  /// Separated by spaces (RFC 8693, section 4.2).
  private var scope: String

  public init(tenant: String, scope: String, expires: Date, issuer: String? = nil, audience: String? = nil) {
    exp = Int64(expires.timeIntervalSince1970.rounded())
    iss = issuer
    aud = audience
    self.tenant = tenant
    self.scope = scope
  }

  /// The token, signed with HS256.
  public func signed(secret: [UInt8]) async throws -> String {
    let key = try await JWTKeyCollection().add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256).getKey()
    let signed = "\(encoded(Data(#"{"alg":"HS256","typ":"JWT"}"#.utf8))).\(encoded(try JSONEncoder().encode(self)))"
    return "\(signed).\(encoded(Data(try key.sign(Array(signed.utf8)))))"
  }

  private func encoded(_ data: Data) -> String {
    data.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
  }
}
