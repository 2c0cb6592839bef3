import Core
import CryptoExtras
import Foundation
import JWTKit
import Testing

@testable import RPC

/// A token that must be refused, and the reason a caller is given.
struct RefusedToken: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var reason = RPCError.Reason.tokenInvalid
  var make: @Sendable () async throws -> String

  init(
    _ what: String, _ reason: RPCError.Reason = .tokenInvalid, _ make: @escaping @Sendable () async throws -> String
  ) {
    testDescription = what
    self.reason = reason
    self.make = make
  }

  init(_ what: String, _ reason: RPCError.Reason = .tokenInvalid, claims changes: [String: String?]) {
    self.init(what, reason) { try await TokenSigner.hs256().token(claims(changes)) }
  }

  init(_ what: String, header: String) {
    self.init(what) { try await TokenSigner.hs256().token(header: header) }
  }

  /// Refused by a verifier whose one key is HS256 with the tests' secret.
  static let all: [RefusedToken] =
    ["none", "None", "NONE", "nOnE", ""].map { algorithm in
      RefusedToken("alg \(algorithm), no signature") {
        "\(base64URL(Array(#"{"alg":"\#(algorithm)"}"#.utf8))).\(base64URL(Array(claims().utf8)))."
      }
    } + [
      RefusedToken("alg none, a right signature of another header", header: #"{"alg":"none","typ":"JWT"}"#),
      RefusedToken("alg in lower case", header: #"{"alg":"hs256"}"#),
      RefusedToken("alg of another kind", header: #"{"alg":"RS256"}"#),
      RefusedToken("alg missing", header: #"{"typ":"JWT"}"#),
      RefusedToken("alg no text", header: #"{"alg":5}"#),
      RefusedToken("header no object", header: "[]"),
      RefusedToken("header no JSON", header: "{"),
      RefusedToken("crit", header: #"{"alg":"HS256","crit":["exp"]}"#),
      RefusedToken("crit, empty", header: #"{"alg":"HS256","crit":[]}"#),
      RefusedToken("crit, unknown", header: #"{"alg":"HS256","crit":["b64"],"b64":false}"#),
      RefusedToken("HS384") { try await TokenSigner.hs256(digest: .sha384).token() },
      RefusedToken("HS512") { try await TokenSigner.hs256(digest: .sha512).token() },
      RefusedToken("another secret") { try await TokenSigner.hs256(testSecret.reversed()).token() },
      RefusedToken("the secret and a newline") { try await TokenSigner.hs256(testSecret + [10]).token() },
      RefusedToken("RS256") { try await TokenSigner.rs256(rsaKey).token() },
      RefusedToken("ES256") { try await TokenSigner.es256(ES256PrivateKey()).token() },
      RefusedToken("EdDSA") { try await TokenSigner.edDSA(EdDSA.PrivateKey()).token() },
      RefusedToken("bits left over behind the signature") {
        // 32 bytes are 42 digits of six bits, and four bits of one more.
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        var token = try await TokenSigner.hs256().token()
        let last = digits.firstIndex(of: token.removeLast())!
        return token + String(digits[last + 1])
      },
      RefusedToken("another payload under the signature") {
        var parts = try await TokenSigner.hs256().token().split(separator: ".").map(String.init)
        parts[1] = base64URL(Array(claims(["tenant": "\"other\""]).utf8))
        return parts.joined(separator: ".")
      },
      RefusedToken("no signature") {
        try await TokenSigner.hs256().token().split(separator: ".").prefix(2).joined(separator: ".")
      },
      RefusedToken("an empty signature") {
        try await TokenSigner.hs256().token().split(separator: ".").prefix(2).joined(separator: ".") + "."
      },
      RefusedToken("a fourth part") { try await TokenSigner.hs256().token() + ".e30" },
      RefusedToken("a space behind") { try await TokenSigner.hs256().token() + " " },
      RefusedToken("two tokens") { try await "\(TokenSigner.hs256().token()) \(TokenSigner.hs256().token())" },
      RefusedToken("dots alone") { ".." },
      RefusedToken("not base64") { "a!b.c?d.e=f" },
      RefusedToken("not ASCII") { "é.é.é" },
      RefusedToken("no token at all") { "secret" },
      RefusedToken("payload no JSON") { try await TokenSigner.hs256().token("tenant=acme") },
      RefusedToken("payload no object") { try await TokenSigner.hs256().token("[1]") },
      RefusedToken("exp missing", claims: ["exp": nil]),
      RefusedToken("exp null", claims: ["exp": "null"]),
      RefusedToken("exp no number", claims: ["exp": "\"tomorrow\""]),
      RefusedToken("expired", .tokenExpired, claims: ["exp": "\(secondsFromNow(-61))"]),
      RefusedToken("expired before 1970", .tokenExpired, claims: ["exp": "-5"]),
      RefusedToken("nbf ahead", claims: ["nbf": "\(secondsFromNow(600))"]),
      RefusedToken("nbf no number", claims: ["nbf": "\"soon\""]),
      RefusedToken("exp past all numbers", claims: ["exp": "1e999"]),
      RefusedToken("exp twice") {
        try await TokenSigner.hs256().token(#"{"tenant":"acme","exp":1,"exp":\#(secondsFromNow(60))}"#)
      },
      RefusedToken("tenant twice") {
        try await TokenSigner.hs256().token(#"{"tenant":"one","exp":\#(secondsFromNow(60)),"tenant":"two"}"#)
      },
      RefusedToken("tenant twice, spelled apart") {
        try await TokenSigner.hs256().token(#"{"tenant":"one","exp":\#(secondsFromNow(60)),"t\u0065nant":"two"}"#)
      },
      RefusedToken("alg twice", header: #"{"alg":"HS256","alg":"none"}"#),
      RefusedToken("alg twice, the second right", header: #"{"alg":"none","alg":"HS256"}"#),
      RefusedToken("claims nested too deep", claims: ["x": String(repeating: "[", count: 4000)]),
      RefusedToken("claims not UTF-8") { try await TokenSigner.hs256().token(bytes: [0x22, 0xff, 0x22]) },
      RefusedToken("scopes no list of texts", claims: ["scopes": "[1]"]),
      RefusedToken("tenant missing", claims: ["tenant": nil]),
      RefusedToken("tenant empty", claims: ["tenant": "\"\""]),
      RefusedToken("tenant no text", claims: ["tenant": "7"]),
      RefusedToken("tenant too long", claims: ["tenant": json(String(repeating: "t", count: 129))]),
      RefusedToken("tenant with NUL", claims: ["tenant": #""a\u0000b""#]),
      RefusedToken("tenant with a newline", claims: ["tenant": #""a\nb""#]),
      RefusedToken("tenant and tenant_id differ", claims: ["tenant_id": "\"other\""]),
      RefusedToken("scope no text", claims: ["scope": "7"]),
      RefusedToken("too long", claims: ["padding": json(String(repeating: "x", count: Limits.tokenBytesMax))]),
    ]
}
