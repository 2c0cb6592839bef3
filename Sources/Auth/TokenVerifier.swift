public import Core
import Foundation
public import JWTKit
public import Messages

/// Tells from a call's metadata who calls: verifies its JSON Web Token (RFC 7519) and reads the claims.
///
/// Each key serves one algorithm alone, so a token's header can only choose among the keys of its own
/// algorithm: `none` has no key, and a public key is never an HMAC secret. Verified tokens are remembered, a bounded
/// number of them, and never past their `exp` and the leeway.
public final class TokenVerifier: Sendable {
  /// A key, with the one algorithm it is for (RFC 7518, RFC 8037).
  public enum Key: Sendable {
    case hs256(secret: [UInt8])
    case rs256(Insecure.RSA.PublicKey)
    case es256(ES256PublicKey)
    case edDSA(EdDSA.PublicKey)

    /// RFC 7518, section 3.2: a key of at least the hash's size.
    public static let secretBytesMin = 32
  }

  public struct Configuration: Sendable {
    public var keys: [Key]
    /// When set, the token's `iss` must be this.
    public var issuer: String?
    /// When set, the token's `aud` must hold this.
    public var audience: String?
    /// How far the issuer's clock and this one may be apart, for `nbf` and `exp`.
    public var leewaySeconds: Int

    public init(keys: [Key], issuer: String? = nil, audience: String? = nil, leewaySeconds: Int = 60) {
      self.keys = keys
      self.issuer = issuer
      self.audience = audience
      self.leewaySeconds = leewaySeconds
    }
  }

  private let configuration: Configuration
  private let keysByAlgorithm: [String: [any JWTAlgorithm]]
  private let verified = VerifiedTokens(countMax: Limits.verifiedTokensCachedMax)
  private let signatures: SignatureChecks
  private let now: @Sendable () -> Date

  public convenience init(_ configuration: Configuration) async {
    await self.init(configuration, signatures: SignatureChecks(), now: { Date() })
  }

  init(_ configuration: Configuration, signatures: SignatureChecks, now: @escaping @Sendable () -> Date) async {
    self.configuration = configuration
    self.signatures = signatures
    self.now = now
    var keysByAlgorithm: [String: [any JWTAlgorithm]] = [:]
    for key in configuration.keys { keysByAlgorithm[key.algorithm, default: []] += await key.verifiers() }
    self.keysByAlgorithm = keysByAlgorithm
  }

  /// The claims of the caller who sent this metadata.
  public func claims(from metadata: Metadata) async throws(RPCError) -> Claims {
    if let known = try knownClaims(from: metadata) { return known }
    let authorization = try authorization(metadata)
    let new = try await verify(try bearerToken(authorization))
    // Spaces before a token must not grow what is kept.
    if authorization.utf8.count <= Limits.tokenBytesMax { verified[authorization] = new }
    return try checked(new.claims, metadata)
  }

  /// The same where the token was verified before; nil where it was not.
  func knownClaims(from metadata: Metadata) throws(RPCError) -> Claims? {
    let authorization = try authorization(metadata)
    guard let known = verified[authorization], known.end > now() else { return nil }
    return try checked(known.claims, metadata)
  }

  private func checked(_ claims: Claims, _ metadata: Metadata) throws(RPCError) -> Claims {
    if let tenant = try single("x-tenant-id", in: metadata), !tenant.isExactly(claims.tenant.description) {
      throw RPCError(.unauthenticated, .tenantMismatch, "x-tenant-id is not the tenant of the token")
    }
    return claims
  }

  private func authorization(_ metadata: Metadata) throws(RPCError) -> String {
    guard let authorization = try single("authorization", in: metadata) else {
      throw RPCError(
        .unauthenticated, .tokenMissing, "no authorization in the call's metadata; send \"authorization: Bearer TOKEN\""
      )
    }
    return authorization
  }

  private func bearerToken(_ authorization: String) throws(RPCError) -> String {
    // RFC 9110, section 11.1: the scheme's case does not matter.
    let space = UInt8(ascii: " ")
    guard let end = authorization.utf8.firstIndex(of: space), authorization[..<end].lowercased() == "bearer",
      let start = authorization.utf8[end...].firstIndex(where: { $0 != space })
    else {
      throw .tokenInvalid("authorization is not of the form \"Bearer TOKEN\"")
    }
    let token = authorization[start...]
    guard token.utf8.count <= Limits.tokenBytesMax else {
      throw .tokenInvalid("the token is \(token.utf8.count) bytes long; at most \(Limits.tokenBytesMax) are allowed")
    }
    return String(token)
  }

  /// The value of a key that says who calls, which therefore may be there once at the most.
  private func single(_ key: String, in metadata: Metadata) throws(RPCError) -> String? {
    let values = metadata[key]
    guard values.count <= 1 else {
      throw RPCError(.unauthenticated, .metadataInvalid, "\(key) is given \(values.count) times; send it once")
    }
    return values.first
  }

  private func verify(_ token: String) async throws(RPCError) -> VerifiedTokens.Token {
    let token = try TokenText(token)
    guard let keys = keysByAlgorithm[token.algorithm] else {
      throw .tokenInvalid(
        "no key here is for the token's algorithm; allowed: \(keysByAlgorithm.keys.sorted().joined(separator: ", "))")
    }
    let (signature, signed) = (token.signature, token.signed)
    let isRight = try await signatures.run {
      keys.contains { (try? $0.verify(signature, signs: signed)) == true }
    }
    guard isRight else { throw .tokenInvalid("the token's signature does not match") }
    return try check(try token.claims())
  }

  private func check(_ token: TokenMembers) throws(RPCError) -> VerifiedTokens.Token {
    let (now, leeway) = (now(), TimeInterval(configuration.leewaySeconds))
    guard let expires = try token.time("exp") else {
      throw .tokenInvalid("the token has no exp; expected is a number of seconds since 1970")
    }
    guard expires + leeway > now else {
      throw RPCError(.unauthenticated, .tokenExpired, "the token has expired; get a new one")
    }
    if let notBefore = try token.time("nbf"), notBefore - leeway > now {
      throw .tokenInvalid("the token is not valid yet (nbf)")
    }
    let (issuer, audience) = (try token.text("iss"), try token.textOrTexts("aud"))
    if let expected = configuration.issuer, issuer?.isExactly(expected) != true {
      throw .tokenInvalid("the token's iss is not the one expected here")
    }
    if let expected = configuration.audience, audience?.contains(where: { $0.isExactly(expected) }) != true {
      throw .tokenInvalid("the token's aud does not hold the one expected here")
    }
    let claims = Claims(tenant: try tenant(token), scopes: try scopes(token))
    return VerifiedTokens.Token(claims: claims, end: expires + leeway)
  }

  private func tenant(_ token: TokenMembers) throws(RPCError) -> Tenant {
    let (tenant, tenantID) = (try token.text("tenant"), try token.text("tenant_id"))
    if let tenant, let tenantID, !tenant.isExactly(tenantID) {
      throw .tokenInvalid("the token's tenant and tenant_id differ")
    }
    guard let name = tenant ?? tenantID else { throw .tokenInvalid("the token has no tenant") }
    guard let tenant = Tenant(name) else {
      throw .tokenInvalid(
        "the token's tenant is not 1 to \(Limits.tenantBytesMax) bytes without control characters")
    }
    return tenant
  }

  private func scopes(_ token: TokenMembers) throws(RPCError) -> Set<String> {
    let words = try token.text("scope")?.split(separator: " ").map(String.init) ?? []
    return Set(words + (try token.texts("scopes") ?? []))
  }
}

extension TokenVerifier.Key {
  /// What checks signatures with this key.
  fileprivate func verifiers() async -> [any JWTAlgorithm] {
    let keys = JWTKeyCollection()
    switch self {
    case .hs256(let secret): await keys.add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256)
    case .rs256(let key): await keys.add(rsa: key, digestAlgorithm: .sha256)
    case .es256(let key): await keys.add(ecdsa: key)
    case .edDSA(let key): await keys.add(eddsa: key)
    }
    return (try? await keys.getKey()).map { [$0] } ?? []
  }

  var algorithm: String {
    switch self {
    case .hs256: "HS256"
    case .rs256: "RS256"
    case .es256: "ES256"
    case .edDSA: "EdDSA"
    }
  }

  /// The secret in a file's bytes, without the newline that editors end files with.
  public static func secret(fileBytes: [UInt8]) throws(KeyError) -> [UInt8] {
    let secret = fileBytes.last == UInt8(ascii: "\n") ? fileBytes.dropLast() : fileBytes[...]
    guard secret.count >= secretBytesMin else {
      throw KeyError(
        description: "holds a secret of \(secret.count) bytes; HS256 needs at least \(secretBytesMin)")
    }
    return Array(secret)
  }

  /// A public key in PEM; its kind tells the algorithm.
  public init(pem: String) throws(KeyError) {
    if let key = try? ES256PublicKey(pem: pem) {
      self = .es256(key)
    } else if let key = try? EdDSA.PublicKey(pem: pem) {
      self = .edDSA(key)
    } else if let key = try? Insecure.RSA.PublicKey(pem: pem) {
      self = .rs256(key)
    } else {
      throw KeyError(
        description: "holds no public key in PEM of a kind known here: RSA (2048 bits or more), P-256 or Ed25519")
    }
  }

  /// What is wrong with a key's file, to be read after the file's name.
  public struct KeyError: Error, CustomStringConvertible {
    public var description: String
  }
}
