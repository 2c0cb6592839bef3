package import Core
package import Foundation

extension InteractionDraft {
  /// Reads an interaction as `record` and `import` take it: every field but the conversation may be left
  /// out, the time may also be `created_at_ms`, token counts may stand flat, and the cost may be
  /// `estimated_cost_usd`, a decimal string. `tenant` and `updated_at` are read over.
  ///
  /// - Returns: also the line's tenant, to choose by, and the names of fields that are none of an interaction.
  package static func read(
    _ json: Data
  ) throws(JSONFields.Failure) -> (draft: InteractionDraft, tenant: String?, unknownFields: Set<String>) {
    var fields = try JSONFields(json)
    var draft = InteractionDraft()
    draft.id = try fields.text("id") ?? ""
    draft.createdAt = try time(&fields)
    try draft.content.withMutableFields { (content) throws(JSONFields.Failure) in
      for field in InteractionContent.fields where field.parent == nil { try field.read(&fields, into: content) }
    }
    try draft.readTokens(from: &fields)
    if let usd = try fields.text("estimated_cost_usd") {
      let nanos: Int64
      do { nanos = try Self.nanos(usd: usd) } catch { throw JSONFields.Failure("estimated_cost_usd: \(error)") }
      let given: Int64? = try fields.whole("estimated_cost_nanos")
      draft.content.estimatedCostNanos = try one(given, nanos, "estimated_cost") ?? 0
    }
    _ = try fields.text("updated_at")
    let tenant = try fields.text("tenant")
    return (draft, tenant, fields.unknown)
  }

  private static func time(_ fields: inout JSONFields) throws(JSONFields.Failure) -> Timestamp? {
    let parsed = try fields.text("created_at").map { (text) throws(JSONFields.Failure) in
      guard let time = Timestamp(rfc3339: text) else {
        throw JSONFields.Failure("created_at: \(text.prefix(64)): \(Timestamp.mistake(in: text))")
      }
      return time
    }
    return try one(try fields.whole("created_at_ms").map(Timestamp.init(milliseconds:)), parsed, "created_at")
  }

  /// They stand in `token_usage`, or flat.
  private mutating func readTokens(from fields: inout JSONFields) throws(JSONFields.Failure) {
    let flat = try Self.tokens(&fields)
    let nested = try fields.object("token_usage") { (usage) throws(JSONFields.Failure) in try Self.tokens(&usage) }
    func number(_ name: String) throws(JSONFields.Failure) -> Int32? {
      try Self.one(flat[name], nested?[name], name)
    }
    try content.withMutableFields { (content) throws(JSONFields.Failure) in
      for field in Self.tokenFields {
        switch field.value {
        case .count(let count): count.set(content, try number(field.name) ?? 0)
        case .optionalCount(let count): count.set(content, try number(field.name))
        case .text, .amount, .score, .flag, .intents: break
        }
      }
    }
    totalTokens = try number("total_tokens") ?? 0
  }

  private static let tokenFields = InteractionContent.fields.filter { $0.parent == "token_usage" }

  private static func tokens(_ fields: inout JSONFields) throws(JSONFields.Failure) -> [String: Int32] {
    var numbers: [String: Int32] = [:]
    for name in tokenFields.map(\.name) + ["total_tokens"] { numbers[name] = try fields.whole(name) }
    return numbers
  }

  private static func one<Value: Equatable>(
    _ a: Value?, _ b: Value?, _ field: String
  ) throws(JSONFields.Failure) -> Value? {
    if let a, let b, a != b { throw JSONFields.Failure("\(field): is given twice, with different values") }
    return a ?? b
  }

  /// A decimal number of dollars, exactly. The failure names the text, and not where it stood.
  package static func nanos(usd text: String) throws(JSONFields.Failure) -> Int64 {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    let fraction = parts.count == 2 ? String(parts[1]) : ""
    let isDecimal =
      parts.count <= 2 && fraction.utf8.count <= 9 && (parts.count == 1 || !fraction.isEmpty)
      && parts.allSatisfy { part in !part.isEmpty && part.utf8.allSatisfy { (48...57).contains($0) } }
    let shown = text.isEmpty ? "(empty)" : String(text.prefix(64))
    let dollarsMax = Limits.costNanosMax / 1_000_000_000
    let allowed =
      "give 0 to \(dollarsMax) dollars as a decimal number with digits before the point and at most 9 places after it"
    guard isDecimal else { throw JSONFields.Failure("\(shown) is no cost: \(allowed), such as 0.0042") }
    guard let nanos = Int64(parts[0] + fraction + String(repeating: "0", count: 9 - fraction.utf8.count)),
      nanos <= Limits.costNanosMax
    else { throw JSONFields.Failure("\(shown) is too large: \(allowed)") }
    return nanos
  }
}

extension ContentField {
  /// What may be left out is empty, 0 or unknown then.
  fileprivate func read(
    _ fields: inout JSONFields, into content: UnsafeMutablePointer<InteractionContent>
  ) throws(JSONFields.Failure) {
    switch value {
    case .text(let text, _): text.set(content, try fields.text(name) ?? "")
    case .count(let count): count.set(content, try fields.whole(name) ?? 0)
    case .optionalCount(let count): count.set(content, try fields.whole(name))
    case .amount(let amount, _): amount.set(content, try fields.whole(name) ?? 0)
    case .score(let score): score.set(content, try fields.number(name) ?? 0)
    case .flag(let flag): flag.set(content, try fields.bool(name) ?? false)
    case .intents(let intents):
      let read = try fields.objects(name) { (intent) throws(JSONFields.Failure) in
        Intent(
          name: try intent.required(try intent.text("name"), "name"),
          confidence: try intent.required(try intent.number("confidence"), "confidence"))
      }
      intents.set(content, read ?? [])
    }
  }
}
