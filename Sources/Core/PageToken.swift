/// Where a list goes on: after the last id of the page before.
///
/// On the wire it is opaque: a version, the id and the first bytes of a SHA-256 over tenant, filter
/// and id, in hexadecimal. The hash keeps an honest caller from mixing lists up; it grants nothing,
/// since a list shows only its own tenant's rows whatever the token says.
public enum PageToken {
  private static let version = "1"

  public static func encode(after id: InteractionID, tenant: Tenant, filter: InteractionFilter) -> String {
    version + hex(id.high) + hex(id.low) + hex(binding(id, tenant, filter))
  }

  public static func decode(_ token: String, tenant: Tenant, filter: InteractionFilter) throws(RPCError)
    -> InteractionID
  {
    let digits = Array(token.utf8.dropFirst())
    guard token.hasPrefix(version), digits.count == 48,
      let high = word(digits[0..<16]), let low = word(digits[16..<32]), let bound = word(digits[32..<48])
    else {
      throw RPCError(
        .invalidArgument, .pageTokenInvalid, "page_token: is not one this service made",
        violations: [.init(field: "page_token", description: "is not one this service made")])
    }
    let id = InteractionID(high: high, low: low)
    guard bound == binding(id, tenant, filter) else {
      let description = "belongs to another list; repeat the filter (and the tenant) of the page it came with"
      throw RPCError(
        .invalidArgument, .pageTokenInvalid, "page_token: \(description)",
        violations: [.init(field: "page_token", description: description)])
    }
    return id
  }

  private static func binding(_ id: InteractionID, _ tenant: Tenant, _ filter: InteractionFilter) -> UInt64 {
    let (first, _): (UInt64, UInt64) = SHA256.hash(Array("parley page\0\(tenant)\0\(id)\0".utf8) + filter.bytes)
    return first
  }

  private static func hex(_ word: UInt64) -> String {
    let digits = String(word, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  private static func word(_ digits: ArraySlice<UInt8>) -> UInt64? {
    // A sign is no digit, though UInt64 would take "+".
    digits.first == UInt8(ascii: "+") ? nil : UInt64(String(decoding: digits, as: UTF8.self), radix: 16)
  }
}
