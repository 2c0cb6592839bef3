import Core
import CryptoExtras
import Foundation
import JWTKit
import Messages
import Synchronization
import Testing

@testable import Auth
@testable import RPC

@Suite(.timeLimit(.minutes(5)))
struct TokenVerifierTests {
  private func verifier(
    _ keys: [TokenVerifier.Key] = [.hs256(secret: testSecret)], issuer: String? = nil, audience: String? = nil
  ) async -> TokenVerifier {
    await TokenVerifier(.init(keys: keys, issuer: issuer, audience: audience))
  }

  private func error(_ verifier: TokenVerifier, _ token: String) async -> RPCError? {
    await error(verifier, .authorized(by: token))
  }

  private func error(_ verifier: TokenVerifier, _ metadata: Metadata) async -> RPCError? {
    do throws(RPCError) {
      _ = try await verifier.claims(from: metadata)
      return nil
    } catch {
      return error
    }
  }

  // MARK: Keys and signatures

  @Test func rightTokenTellsTenantAndScopes() async throws {
    let verifier = await verifier()
    let token = try await TokenSigner.hs256().token()
    // The second time from the cache.
    for _ in 0..<2 {
      let claims = try await verifier.claims(from: .authorized(by: token))
      #expect(claims.tenant == Tenant("acme"))
      #expect(claims.scopes == ["analytics:view", "interactions:record"])
    }
  }

  @Test func mintedTokenIsAccepted() async throws {
    let token = try await TokenPayload(
      tenant: "acme", scope: "a b", expires: Date() + 60, issuer: "here", audience: "parley"
    ).signed(secret: testSecret)
    let claims = try await verifier(issuer: "here", audience: "parley").claims(from: .authorized(by: token))
    #expect(claims == Claims(tenant: Tenant("acme")!, scopes: ["a", "b"]))
  }

  @Test(arguments: RefusedToken.all)
  func tokenIsRefused(_ refused: RefusedToken) async throws {
    let verifier = await verifier()
    let token = try await refused.make()
    // Nothing of the first refusal may make the second a success.
    for _ in 0..<2 {
      let error = try #require(await error(verifier, token))
      #expect(error.code == .unauthenticated && error.reason == refused.reason, "\(error.message)")
    }
  }

  @Test func everyByteOfATokenIsSigned() async throws {
    let verifier = await verifier()
    let token = Array(try await TokenSigner.hs256().token().utf8)
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    #expect(await error(verifier, String(decoding: token, as: UTF8.self)) == nil)
    for place in token.indices where token[place] != UInt8(ascii: ".") {
      var changed = token
      // The highest of its six bits: the lowest of the last are padding.
      changed[place] = alphabet[alphabet.firstIndex(of: token[place])! ^ 32]
      #expect(await error(verifier, String(decoding: changed, as: UTF8.self)) != nil, "byte \(place)")
    }
  }

  @Test func everyAlgorithmHasItsKey() async throws {
    let (es, ed) = (ES256PrivateKey(), try EdDSA.PrivateKey())
    let keys: [TokenVerifier.Key] = [
      .hs256(secret: testSecret),
      try .init(pem: rsaKey.publicKey.pemRepresentation),
      try .init(pem: es.publicKey.pemRepresentation),
      try .init(pem: ed.publicKey.pemRepresentation),
    ]
    let signers = [
      try await TokenSigner.hs256(), try await .rs256(rsaKey), try await .es256(es), try await .edDSA(ed),
    ]
    let all = await verifier(keys)
    for (index, signer) in signers.enumerated() {
      let token = try signer.token()
      #expect(await error(all, token) == nil)
      // By its own key alone, and by no other.
      for (other, key) in keys.enumerated() {
        #expect((await error(verifier([key]), token) == nil) == (other == index), "token \(index), key \(other)")
      }
    }
  }

  /// CVE-2015-9235 and its kin: the public key, which is public, as the secret of an HMAC.
  @Test func publicKeyIsNoSecret() async throws {
    let es = ES256PrivateKey()
    for pem in [rsaKey.publicKey.pemRepresentation, es.publicKey.pemRepresentation] {
      for secret in [Array(pem.utf8), Array((pem + "\n").utf8)] {
        let token = try await TokenSigner.hs256(secret).token()
        let key = try TokenVerifier.Key(pem: pem)
        #expect(await error(verifier([key]), token)?.reason == .tokenInvalid)
        #expect(await error(verifier([key, .hs256(secret: testSecret)]), token)?.reason == .tokenInvalid)
        let header = try await TokenSigner.hs256(secret).token(header: #"{"alg":"RS256"}"#)
        #expect(await error(verifier([key]), header)?.reason == .tokenInvalid)
      }
    }
  }

  @Test func twoKeysOfOneAlgorithmServeWhileTheyRotate() async throws {
    let secrets = (0..<3).map { number in testSecret + [UInt8(number)] }
    let rotating = await verifier([.hs256(secret: secrets[0]), .hs256(secret: secrets[1])])
    for kid in ["", #","kid":"0""#, #","kid":"1""#, #","kid":"from elsewhere""#] {
      for (number, secret) in secrets.enumerated() {
        let token = try await TokenSigner.hs256(secret).token(header: #"{"alg":"HS256"\#(kid)}"#)
        #expect((await error(rotating, token) == nil) == (number < 2), "key \(number), \(kid)")
      }
    }
    let (old, new) = (ES256PrivateKey(), ES256PrivateKey())
    let both = await verifier([.es256(old.publicKey), .es256(new.publicKey)])
    for key in [old, new] { #expect(await error(both, try await TokenSigner.es256(key).token()) == nil) }
    #expect(await error(both, try await TokenSigner.es256(ES256PrivateKey()).token()) != nil)
  }

  @Test func serverWithoutKeysRefusesAll() async throws {
    let none = await verifier([])
    for refused in RefusedToken.all.prefix(7) { #expect(await error(none, try await refused.make()) != nil) }
    #expect(await error(none, try await TokenSigner.hs256().token()) != nil)
  }

  // MARK: Key files

  @Test func weakOrForeignPEMIsRefused() throws {
    let weak = try _RSA.Signing.PrivateKey(unsafeKeySize: .init(bitCount: 1024)).publicKey.pemRepresentation
    let pems = [
      weak, ES384PrivateKey().publicKey.pemRepresentation, ES256PrivateKey().pemRepresentation, "",
      "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ]
    for pem in pems {
      let error = #expect(throws: TokenVerifier.Key.KeyError.self) { try TokenVerifier.Key(pem: pem) }
      #expect(error?.description.contains("2048") == true)
    }
  }

  @Test func oneNewlineEndsASecretFile() throws {
    let secret = [UInt8](repeating: 7, count: 32)
    #expect(try TokenVerifier.Key.secret(fileBytes: secret) == secret)
    #expect(try TokenVerifier.Key.secret(fileBytes: secret + [10]) == secret)
    #expect(try TokenVerifier.Key.secret(fileBytes: secret + [10, 10]) == secret + [10])
    #expect(try TokenVerifier.Key.secret(fileBytes: secret + [13, 10]) == secret + [13])
    #expect(try TokenVerifier.Key.secret(fileBytes: secret + [32]) == secret + [32])
  }

  @Test func shortSecretIsRefused() {
    for bytes in [[], [10], [UInt8](repeating: 7, count: 31), [UInt8](repeating: 7, count: 31) + [10]] {
      let error = #expect(throws: TokenVerifier.Key.KeyError.self) {
        try TokenVerifier.Key.secret(fileBytes: bytes)
      }
      #expect(error?.description.contains("32") == true)
    }
  }

  // MARK: Claims

  @Test func issuerIsCheckedWhereConfigured() async throws {
    let verifier = await verifier(issuer: "https://issuer")
    let signer = try await TokenSigner.hs256()
    #expect(await error(verifier, try signer.token(claims(["iss": "\"https://issuer\""]))) == nil)
    for wrong in [nil, "\"\"", "\"https://issuer/\"", "\"HTTPS://issuer\"", "null", "[\"https://issuer\"]"] {
      #expect(await error(verifier, try signer.token(claims(["iss": wrong])))?.reason == .tokenInvalid)
    }
    #expect(await error(self.verifier(), try signer.token(claims(["iss": "\"anybody\""]))) == nil)
  }

  @Test func audienceIsCheckedWhereConfigured() async throws {
    let verifier = await verifier(audience: "parley")
    let signer = try await TokenSigner.hs256()
    for right in ["\"parley\"", "[\"parley\"]", "[\"other\",\"parley\"]"] {
      #expect(await error(verifier, try signer.token(claims(["aud": right]))) == nil, "\(right)")
    }
    for wrong in [nil, "\"other\"", "\"parley2\"", "[\"other\"]", "\"parley other\"", "null", "7"] {
      #expect(await error(verifier, try signer.token(claims(["aud": wrong])))?.reason == .tokenInvalid)
    }
    #expect(await error(self.verifier(), try signer.token(claims(["aud": "\"anybody\""]))) == nil)
  }

  /// In a process of its own, for a library's precondition would end the server.
  @Test func emptyAudienceIsRefused() async {
    await #expect(processExitsWith: .success) {
      let token = try await TokenSigner.hs256().token(claims(["aud": "[]"]))
      let verifier = await TokenVerifier(.init(keys: [.hs256(secret: testSecret)], audience: "parley"))
      await #expect(throws: RPCError.self) { try await verifier.claims(from: .authorized(by: token)) }
    }
  }

  @Test func tenantMayStandInEitherClaim() async throws {
    let verifier = await verifier()
    let signer = try await TokenSigner.hs256()
    for right in [["tenant": "\"acme\""], ["tenant_id": "\"acme\""], ["tenant": "\"acme\"", "tenant_id": "\"acme\""]] {
      let changes = ["tenant": nil, "tenant_id": nil].merging(right.mapValues(Optional.some)) { $1 }
      let claims = try await verifier.claims(from: .authorized(by: signer.token(claims(changes))))
      #expect(claims.tenant.description == "acme")
    }
  }

  @Test func scopesMayBeTextOrList() async throws {
    let verifier = await verifier()
    let signer = try await TokenSigner.hs256()
    let cases: [(scope: String?, scopes: String?, granted: Set<String>)] = [
      ("\"a b\"", nil, ["a", "b"]), ("\" a  b \"", nil, ["a", "b"]), ("\"\"", nil, []), (nil, nil, []),
      (nil, "[\"a\",\"b\"]", ["a", "b"]), (nil, "[]", []), ("\"a\"", "[\"b\"]", ["a", "b"]),
      // An element of the list is one scope, spaces and all.
      (nil, "[\"a b\"]", ["a b"]),
    ]
    for (scope, scopes, granted) in cases {
      let token = try signer.token(claims(["scope": scope, "scopes": scopes]))
      #expect(try await verifier.claims(from: .authorized(by: token)).scopes == granted)
    }
  }

  @Test func nbfInThePastIsFine() async throws {
    let token = try await TokenSigner.hs256().token(claims(["nbf": "\(secondsFromNow(-5))"]))
    #expect(await error(verifier(), token) == nil)
  }

  @Test func tokenJustShortEnoughIsRead() async throws {
    let verifier = await verifier()
    let signer = try await TokenSigner.hs256()
    var longest = 0
    for padding in stride(from: 5_800, to: 6_100, by: 1) {
      let token = try signer.token(claims(["padding": json(String(repeating: "x", count: padding))]))
      let error = await error(verifier, token)
      #expect((error == nil) == (token.utf8.count <= Limits.tokenBytesMax), "\(token.utf8.count) bytes")
      if let error { #expect(error.message.contains("\(Limits.tokenBytesMax)")) }
      longest = max(longest, token.utf8.count)
    }
    #expect(longest > Limits.tokenBytesMax)
  }

  @Test func cachedTokenIsNeverGoodPastItsExpiryAndTheLeeway() async throws {
    let clock = Mutex(Date())
    let now: @Sendable () -> Date = { clock.withLock { $0 } }
    let configuration = TokenVerifier.Configuration(keys: [.hs256(secret: testSecret)], leewaySeconds: 5)
    let verifier = await TokenVerifier(configuration, signatures: SignatureChecks(), now: now)
    let expiry = Date(timeIntervalSince1970: Double(secondsFromNow(30)))
    let token = try await TokenSigner.hs256().token(claims(["exp": "\(Int(expiry.timeIntervalSince1970))"]))
    for seconds in [-30, -1, 0, 4.999] {
      clock.withLock { $0 = expiry + seconds }
      #expect(await error(verifier, token) == nil, "\(seconds) s after exp")
    }
    for seconds in [5.0, 6, 600] {
      clock.withLock { $0 = expiry + seconds }
      #expect(await error(verifier, token)?.reason == .tokenExpired, "\(seconds) s after exp")
    }
  }

  /// The clock of who signs is ahead or behind.
  @Test func leewayIsGivenForBothTimes() async throws {
    let signer = try await TokenSigner.hs256()
    for leeway in [0, 60, 300] {
      let verifier = await TokenVerifier(.init(keys: [.hs256(secret: testSecret)], leewaySeconds: leeway))
      // Seconds to spare, for the clock goes on.
      let right = [["nbf": "\(secondsFromNow(leeway))"], ["exp": "\(secondsFromNow(30 - leeway))"]]
      for changes in right { #expect(await error(verifier, try signer.token(claims(changes))) == nil, "\(leeway)") }
      let early = try signer.token(claims(["nbf": "\(secondsFromNow(leeway + 30))"]))
      #expect(await error(verifier, early)?.message == "the token is not valid yet (nbf)")
      let late = try signer.token(claims(["exp": "\(secondsFromNow(-leeway - 1))"]))
      #expect(await error(verifier, late)?.reason == .tokenExpired)
    }
  }

  @Test func whatIsWrongWithAClaimIsNamed() async throws {
    let verifier = await verifier()
    let signer = try await TokenSigner.hs256()
    let cases: [([String: String?], String)] = [
      (["exp": nil], "the token has no exp; expected is a number of seconds since 1970"),
      (["exp": "\"1\""], "the token's exp is a text; expected is a number of seconds since 1970"),
      (["exp": "true"], "the token's exp is true or false; expected is a number of seconds since 1970"),
      (["nbf": "[]"], "the token's nbf is a list; expected is a number of seconds since 1970"),
      (["tenant": "7"], "the token's tenant is a number; expected is a text"),
      (["tenant_id": "{}"], "the token's tenant_id is an object; expected is a text"),
      (["scope": "[\"a\"]"], "the token's scope is a list; expected is a text"),
      (["scopes": "\"a\""], "the token's scopes is a text; expected is a list of texts"),
      (["scopes": "[null]"], "the token's scopes holds null; expected are texts alone"),
      (["iss": "1"], "the token's iss is a number; expected is a text"),
      (["aud": "1"], "the token's aud is a number; expected is a text or a list of texts"),
    ]
    for (changes, message) in cases {
      #expect(await error(verifier, try signer.token(claims(changes)))?.message == message)
    }
    let twice = try signer.token(#"{"tenant":"one","tenant":"two"}"#)
    #expect(await error(verifier, twice)?.message == "the token's claims part names tenant twice")
    let header = try signer.token(header: #"{"alg":"HS256","alg":"HS256"}"#)
    #expect(await error(verifier, header)?.message == "the token's header part names alg twice")
  }

  // MARK: Metadata

  @Test func missingTokenIsTold() async {
    #expect(await error(verifier(), Metadata())?.reason == .tokenMissing)
  }

  @Test func schemeIsBearerInAnyCase() async throws {
    let verifier = await verifier()
    let token = try await TokenSigner.hs256().token()
    for right in ["Bearer", "bearer", "BEARER", "bEaReR"] {
      #expect(await error(verifier, .of(("authorization", "\(right) \(token)"))) == nil, "\(right)")
    }
    for wrong in ["", "Bearer", "Bearer ", token, "Basic \(token)", "Bearer\t\(token)", "Bearer:\(token)"] {
      #expect(await error(verifier, .of(("authorization", wrong)))?.code == .unauthenticated)
    }
  }

  @Test func keysAreReadInAnyCase() async throws {
    let verifier = await verifier()
    let token = try await TokenSigner.hs256().token()
    for key in ["authorization", "Authorization", "AUTHORIZATION"] {
      #expect(await error(verifier, .of((key, "Bearer \(token)"))) == nil, "\(key)")
    }
    for key in ["x-tenant-id", "X-Tenant-ID", "X-TENANT-ID"] {
      #expect(await error(verifier, .of(("authorization", "Bearer \(token)"), (key, "acme"))) == nil, "\(key)")
      let mismatch = await error(verifier, .of(("authorization", "Bearer \(token)"), (key, "other")))
      #expect(mismatch?.reason == .tenantMismatch, "\(key)")
    }
  }

  @Test func keysThatSayWhoCallsMayStandOnce() async throws {
    let verifier = await verifier()
    let bearer = "Bearer \(try await TokenSigner.hs256().token())"
    let doubles: [Metadata] = [
      .of(("authorization", bearer), ("authorization", bearer)),
      .of(("authorization", bearer), ("Authorization", "Bearer other")),
      .of(("AUTHORIZATION", "x"), ("authorization", bearer)),
      .of(("authorization", bearer), ("x-tenant-id", "acme"), ("x-tenant-id", "acme")),
      .of(("authorization", bearer), ("x-tenant-id", "acme"), ("X-Tenant-Id", "other")),
    ]
    for metadata in doubles { #expect(await error(verifier, metadata)?.reason == .metadataInvalid) }
  }

  @Test func tenantWithoutATokenIsNobody() async {
    let verifier = await verifier()
    for metadata in [Metadata.of(("x-tenant-id", "acme")), .of(("x-tenant-id", "acme"), ("x-scopes", everyScope))] {
      #expect(await error(verifier, metadata)?.reason == .tokenMissing)
    }
  }
}

extension Metadata {
  static func of(_ entries: (String, String)...) -> Metadata {
    var metadata = Metadata()
    for (key, value) in entries { metadata.add(key, value) }
    return metadata
  }
}
