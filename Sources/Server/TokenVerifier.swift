public import Domain
public import Foundation
public import JWTKit
import Synchronization
public import Wire

/// Tells from a call's metadata who calls: verifies its JSON Web Token (RFC 7519) and reads the claims.
///
/// Each key serves one algorithm alone, so a token's header can only choose among the keys of its own
/// algorithm: `none` has no key, and a public key is never an HMAC secret. Verified tokens are
/// remembered, a bounded number of them, and never past their `exp`.
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

    public init(keys: [Key], issuer: String? = nil, audience: String? = nil) {
      self.keys = keys
      self.issuer = issuer
      self.audience = audience
    }
  }

  private struct Verified {
    var claims: Claims
    var expires: Date
  }

  private let configuration: Configuration
  private let keysByAlgorithm: [String: JWTKeyCollection]
  /// By their `authorization`.
  private let verified = Mutex(GenerationalCache<String, Verified>(countMax: Limits.verifiedTokensCachedMax))

  public init(_ configuration: Configuration) async {
    self.configuration = configuration
    var keysByAlgorithm: [String: JWTKeyCollection] = [:]
    for (index, key) in configuration.keys.enumerated() {
      let id = JWKIdentifier(string: "\(index)")
      let keys = keysByAlgorithm[key.algorithm] ?? JWTKeyCollection()
      switch key {
      case .hs256(let secret): await keys.add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256, kid: id)
      case .rs256(let key): await keys.add(rsa: key, digestAlgorithm: .sha256, kid: id)
      case .es256(let key): await keys.add(ecdsa: key, kid: id)
      case .edDSA(let key): await keys.add(eddsa: key, kid: id)
      }
      keysByAlgorithm[key.algorithm] = keys
    }
    self.keysByAlgorithm = keysByAlgorithm
  }

  /// The claims of the caller who sent this metadata.
  public func claims(from metadata: Metadata) async throws(RPCError) -> Claims {
    if let known = try knownClaims(from: metadata) { return known }
    let authorization = try authorization(metadata)
    let new = try await verify(try bearerToken(authorization))
    // Spaces before a token must not grow what is kept.
    if authorization.utf8.count <= Limits.tokenBytesMax { verified.withLock { $0[authorization] = new } }
    return try checked(new.claims, metadata)
  }

  /// The same where the token was verified before; nil where it was not.
  func knownClaims(from metadata: Metadata) throws(RPCError) -> Claims? {
    let authorization = try authorization(metadata)
    guard let known = verified.withLock({ $0[authorization] }), known.expires > Date() else { return nil }
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
      throw invalid("authorization is not of the form \"Bearer TOKEN\"")
    }
    let token = authorization[start...]
    guard token.utf8.count <= Limits.tokenBytesMax else {
      throw invalid("the token is \(token.utf8.count) bytes long; at most \(Limits.tokenBytesMax) are allowed")
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

  private func verify(_ token: String) async throws(RPCError) -> Verified {
    let now = Date()
    let payload: TokenPayload
    do {
      let algorithm = try header(of: token).algorithm
      guard let keys = keysByAlgorithm[algorithm] else {
        throw invalid("no key here is for the token's algorithm; allowed: \(allowedAlgorithms)")
      }
      payload = try await keys.verify(token, as: TokenPayload.self, iteratingKeys: true)
    } catch let error as RPCError {
      throw error
    } catch let error as JWTError where error.errorType == .signatureVerificationFailed {
      throw invalid("the token's signature does not match")
    } catch {
      throw invalid("the token is malformed, or lacks exp", cause: "\(error)")
    }
    return Verified(claims: try check(payload, at: now), expires: payload.exp.value)
  }

  private var allowedAlgorithms: String { keysByAlgorithm.keys.sorted().joined(separator: ", ") }

  private func header(of token: String) throws -> TokenHeader {
    let encoded = token.prefix { $0 != "." }
    var base64 = encoded.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
    base64 += String(repeating: "=", count: (4 - base64.count % 4) % 4)
    guard let json = Data(base64Encoded: base64) else { throw invalid("the token is malformed") }
    let header = try JSONDecoder().decode(TokenHeader.self, from: json)
    // RFC 7515, section 4.1.11: extensions marked critical must be understood; none is here.
    guard header.critical == nil else { throw invalid("the token's header has crit, which is not supported") }
    return header
  }

  private func check(_ payload: TokenPayload, at now: Date) throws(RPCError) -> Claims {
    guard payload.exp.value > now else {
      throw RPCError(.unauthenticated, .tokenExpired, "the token has expired; get a new one")
    }
    if let notBefore = payload.nbf?.value, notBefore > now { throw invalid("the token is not valid yet (nbf)") }
    if let issuer = configuration.issuer, payload.iss?.value != issuer {
      throw invalid("the token's iss is not the one expected here")
    }
    if let audience = configuration.audience, payload.aud?.values.contains(audience) != true {
      throw invalid("the token's aud does not hold the one expected here")
    }
    if let tenant = payload.tenant, let other = payload.tenantID, !tenant.isExactly(other) {
      throw invalid("the token's tenant and tenant_id differ")
    }
    guard let name = payload.tenant ?? payload.tenantID else { throw invalid("the token has no tenant") }
    guard let tenant = Tenant(name) else {
      throw invalid("the token's tenant is not 1 to \(Limits.tenantBytesMax) bytes without control characters")
    }
    let scopes = (payload.scope?.split(separator: " ").map(String.init) ?? []) + (payload.scopes ?? [])
    return Claims(tenant: tenant, scopes: Set(scopes))
  }

  private func invalid(_ message: String, cause: String? = nil) -> RPCError {
    RPCError(.unauthenticated, .tokenInvalid, message, cause: cause)
  }
}

private struct TokenHeader: Decodable {
  var algorithm: String
  var critical: [String]?

  enum CodingKeys: String, CodingKey {
    case algorithm = "alg"
    case critical = "crit"
  }
}

/// The claims of a token that Parley reads, and mints for development.
public struct TokenPayload: JWTPayload {
  public var exp: ExpirationClaim
  public var nbf: NotBeforeClaim?
  public var iss: IssuerClaim?
  public var aud: Audience?
  public var tenant: String?
  public var tenantID: String?
  /// Separated by spaces (RFC 8693, section 4.2).
  public var scope: String?
  public var scopes: [String]?

  /// One text or an array of them (RFC 7519, section 4.1.3). (JWTKit's own stops the process at an
  /// empty array.)
  public struct Audience: Codable, Sendable {
    var values: [String]

    init(values: [String]) {
      self.values = values
    }

    public init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let one = try? container.decode(String.self) {
        values = [one]
      } else {
        values = try container.decode([String].self)
      }
    }

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      if values.count == 1 { try container.encode(values[0]) } else { try container.encode(values) }
    }
  }

  enum CodingKeys: String, CodingKey {
    case exp, nbf, iss, aud, tenant, scope, scopes
    case tenantID = "tenant_id"
  }

  public init(tenant: String, scope: String, expires: Date, issuer: String? = nil, audience: String? = nil) {
    self.exp = ExpirationClaim(value: expires)
    self.iss = issuer.map { IssuerClaim(value: $0) }
    self.aud = audience.map { Audience(values: [$0]) }
    self.tenant = tenant
    self.scope = scope
  }

  /// The token, signed with HS256.
  public func signed(secret: [UInt8]) async throws -> String {
    try await JWTKeyCollection().add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256).sign(self)
  }

  /// Nothing: `TokenVerifier` checks the times, to tell an expired token from a false one.
  public func verify(using algorithm: some JWTAlgorithm) async throws {}
}

extension TokenVerifier.Key {
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
