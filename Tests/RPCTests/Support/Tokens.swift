import CryptoExtras
import Foundation
import JWTKit
import RPC

/// The secret of the tests' servers.
let testSecret = Array("a secret for tests, long enough for the largest of the hashes: 64 bytes and more".utf8)

/// Made once, for making one takes long.
let rsaKey = try! JWTKit.Insecure.RSA.PrivateKey(backing: _RSA.Signing.PrivateKey(keySize: .bits2048))

let everyScope = "analytics:view interactions:record"

/// A token of the tests' secret.
func signedToken(of tenant: String, scope: String = everyScope) async throws -> String {
  try await TokenSigner.hs256().token(claims(["tenant": json(tenant), "scope": json(scope)]))
}

/// A token's payload that is right, but for the changes: raw JSON, or nil for nothing.
func claims(_ changes: [String: String?] = [:]) -> String {
  var members: [String: String?] = [
    "tenant": "\"acme\"", "scope": json(everyScope), "exp": "\(secondsFromNow(3600))",
  ]
  members.merge(changes) { $1 }
  return "{\(members.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }.joined(separator: ","))}"
}

func json(_ text: String) -> String {
  String(decoding: try! JSONEncoder().encode(text), as: UTF8.self)
}

func secondsFromNow(_ seconds: Int) -> Int {
  Int(Date().timeIntervalSince1970) + seconds
}

func base64URL(_ bytes: some DataProtocol) -> String {
  Data(bytes).base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
    .replacingOccurrences(of: "=", with: "")
}

/// Signs any header and payload, right or wrong.
struct TokenSigner: Sendable {
  private let algorithm: any JWTAlgorithm

  static func hs256(_ secret: [UInt8] = testSecret, digest: DigestAlgorithm = .sha256) async throws -> TokenSigner {
    try await TokenSigner(
      algorithm: JWTKeyCollection().add(hmac: HMACKey(from: secret), digestAlgorithm: digest).getKey())
  }

  static func rs256(_ key: JWTKit.Insecure.RSA.PrivateKey) async throws -> TokenSigner {
    try await TokenSigner(algorithm: JWTKeyCollection().add(rsa: key, digestAlgorithm: .sha256).getKey())
  }

  static func es256(_ key: ES256PrivateKey) async throws -> TokenSigner {
    try await TokenSigner(algorithm: JWTKeyCollection().add(ecdsa: key).getKey())
  }

  static func edDSA(_ key: EdDSA.PrivateKey) async throws -> TokenSigner {
    try await TokenSigner(algorithm: JWTKeyCollection().add(eddsa: key).getKey())
  }

  func token(_ payload: String = claims(), header: String? = nil) throws -> String {
    try token(bytes: Array(payload.utf8), header: header)
  }

  func token(bytes payload: [UInt8], header: String? = nil) throws -> String {
    let header = header ?? "{\"alg\":\"\(algorithm.name)\",\"typ\":\"JWT\"}"
    let signed = "\(base64URL(Array(header.utf8))).\(base64URL(payload))"
    return "\(signed).\(base64URL(try algorithm.sign(Array(signed.utf8))))"
  }
}
