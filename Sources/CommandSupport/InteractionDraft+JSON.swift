package import Domain
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
    draft.content.conversationID = try fields.text("conversation_id") ?? ""
    draft.content.customerMessage = try fields.text("customer_message") ?? ""
    draft.content.agentResponse = try fields.text("agent_response") ?? ""
    draft.content.detectedIntents =
      try fields.objects("detected_intents") { (intent) throws(JSONFields.Failure) in
        Intent(
          name: try intent.required(try intent.text("name"), "name"),
          confidence: try intent.required(try intent.number("confidence"), "confidence"))
      } ?? []
    draft.content.modelUsed = try fields.text("model_used") ?? ""
    draft.content.contextSize = try fields.whole("context_size") ?? 0
    draft.content.processingTimeMilliseconds = try fields.whole("processing_time_ms") ?? 0
    draft.content.confidenceScore = try fields.number("confidence_score") ?? 0
    draft.content.handoffTriggered = try fields.bool("handoff_triggered") ?? false
    draft.content.handoffReason = try fields.text("handoff_reason") ?? ""
    draft.content.messageType = try fields.text("message_type") ?? ""
    let flat = try tokens(&fields)
    let nested = try fields.object("token_usage") { (usage) throws(JSONFields.Failure) in try tokens(&usage) }
    draft.content.promptTokens = try one(flat.prompt, nested?.prompt, "prompt_tokens") ?? 0
    draft.content.completionTokens = try one(flat.completion, nested?.completion, "completion_tokens") ?? 0
    draft.totalTokens = try one(flat.total, nested?.total, "total_tokens") ?? 0
    let nanos = try fields.text("estimated_cost_usd").map { (usd) throws(JSONFields.Failure) in
      do { return try Self.nanos(usd: usd) } catch { throw JSONFields.Failure("estimated_cost_usd: \(error)") }
    }
    draft.content.estimatedCostNanos = try one(try fields.whole("estimated_cost_nanos"), nanos, "estimated_cost") ?? 0
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

  private static func tokens(
    _ fields: inout JSONFields
  ) throws(JSONFields.Failure) -> (prompt: Int32?, completion: Int32?, total: Int32?) {
    (try fields.whole("prompt_tokens"), try fields.whole("completion_tokens"), try fields.whole("total_tokens"))
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
