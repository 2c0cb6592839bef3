import Core
import Foundation

/// A JSON Web Token as it is sent (RFC 7515, section 7.1), before anything of it is trusted.
struct TokenText {
  /// What is signed: the first two parts with the dot between them.
  let signed: [UInt8]
  let signature: [UInt8]
  let algorithm: String
  private let encodedClaims: Substring.UTF8View

  init(_ token: String) throws(RPCError) {
    let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 3 else { throw .tokenInvalid("the token is not of the form HEADER.CLAIMS.SIGNATURE") }
    let header = try TokenMembers(parts[0], "header")
    // RFC 7515, section 4.1.11: extensions marked critical must be understood; none is here.
    guard !header.has("crit") else { throw .tokenInvalid("the token's header has crit, which is not supported") }
    guard let algorithm = try header.text("alg") else { throw .tokenInvalid("the token's header has no alg") }
    guard let signature = decoded(parts[2]) else { throw .tokenInvalid("the token's signature is not base64url") }
    self.algorithm = algorithm
    self.signature = signature
    signed = Array(parts[0]) + [UInt8(ascii: ".")] + Array(parts[1])
    encodedClaims = parts[1]
  }

  func claims() throws(RPCError) -> TokenMembers { try TokenMembers(encodedClaims, "claims") }
}

/// The members of a token's header or claims, each asked for by name and kind. null is as good as absent.
struct TokenMembers {
  private let members: [String: TokenJSON]

  fileprivate init(_ encoded: Substring.UTF8View, _ part: String) throws(RPCError) {
    guard let bytes = decoded(encoded) else { throw .tokenInvalid("the token's \(part) part is not base64url") }
    let value: TokenJSON
    do throws(TokenJSON.Failure) {
      value = try TokenJSON(bytes)
    } catch {
      switch error {
      case .malformed: throw .tokenInvalid("the token's \(part) part is not JSON")
      case .tooDeep:
        throw .tokenInvalid(
          "the token's \(part) part is nested deeper than the \(Limits.tokenNestingMax) levels allowed")
      case .duplicate(let name): throw .tokenInvalid("the token's \(part) part names \(name.prefix(64)) twice")
      }
    }
    guard case .object(let members) = value else {
      throw .tokenInvalid("the token's \(part) part is not a JSON object")
    }
    self.members = members
  }

  func has(_ name: String) -> Bool { members[name] != nil }

  func text(_ name: String) throws(RPCError) -> String? {
    switch members[name] {
    case nil, .null: return nil
    case .text(let text): return text
    case let other?: throw unexpected(name, other, "a text")
    }
  }

  /// RFC 7519, section 2: seconds since 1970, with or without a fraction.
  func time(_ name: String) throws(RPCError) -> Date? {
    switch members[name] {
    case nil, .null: return nil
    case .number(let seconds): return Date(timeIntervalSince1970: seconds)
    case let other?: throw unexpected(name, other, "a number of seconds since 1970")
    }
  }

  func texts(_ name: String) throws(RPCError) -> [String]? {
    switch members[name] {
    case nil, .null: return nil
    case .list(let values): return try elements(name, values)
    case let other?: throw unexpected(name, other, "a list of texts")
    }
  }

  /// One text or a list of them.
  func textOrTexts(_ name: String) throws(RPCError) -> [String]? {
    switch members[name] {
    case nil, .null: return nil
    case .text(let text): return [text]
    case .list(let values): return try elements(name, values)
    case let other?: throw unexpected(name, other, "a text or a list of texts")
    }
  }

  private func elements(_ name: String, _ values: [TokenJSON]) throws(RPCError) -> [String] {
    var texts: [String] = []
    for value in values {
      guard case .text(let text) = value else {
        throw .tokenInvalid("the token's \(name) holds \(value.kind); expected are texts alone")
      }
      texts.append(text)
    }
    return texts
  }

  private func unexpected(_ name: String, _ value: TokenJSON, _ expected: String) -> RPCError {
    .tokenInvalid("the token's \(name) is \(value.kind); expected is \(expected)")
  }
}

extension RPCError {
  static func tokenInvalid(_ message: String) -> RPCError { RPCError(.unauthenticated, .tokenInvalid, message) }
}

/// From base64url without padding (RFC 7515, section 2); nil for anything else, and where bits are left over that are
/// not zero (RFC 4648, section 3.5), so that no token has a second text.
private func decoded(_ text: Substring.UTF8View) -> [UInt8]? {
  var base64: [UInt8] = []
  base64.reserveCapacity(text.count + 3)
  for byte in text {
    switch byte {
    case UInt8(ascii: "-"): base64.append(UInt8(ascii: "+"))
    case UInt8(ascii: "_"): base64.append(UInt8(ascii: "/"))
    case UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="): return nil
    default: base64.append(byte)
    }
  }
  base64 += [UInt8](repeating: UInt8(ascii: "="), count: (4 - base64.count % 4) % 4)
  guard let data = Data(base64Encoded: Data(base64)), data.base64EncodedData().elementsEqual(base64) else { return nil }
  return Array(data)
}
