extension InteractionContent {
  /// Every field, in the order of the table's columns. To add one, declare its property in `InteractionContent` and its
  /// entry here, and add it to proto/ and to the table: CONTRIBUTING.md tells how.
  package static let fields: [ContentField] = [
    .text("conversation_id", \.conversationID, bytesMax: Limits.conversationIDBytesMax),
    .text("customer_message", \.customerMessage, bytesMax: Limits.customerMessageBytesMax, isLong: true),
    .text("agent_response", \.agentResponse, bytesMax: Limits.agentResponseBytesMax, isLong: true),
    .intents("detected_intents", \.detectedIntents),
    .text("model_used", \.modelUsed, bytesMax: Limits.modelUsedBytesMax),
    .count("context_size", \.contextSize),
    .count("processing_time_ms", \.processingTimeMilliseconds),
    .score("confidence_score", \.confidenceScore),
    .flag("handoff_triggered", \.handoffTriggered),
    .text("handoff_reason", \.handoffReason, bytesMax: Limits.handoffReasonBytesMax),
    .text("message_type", \.messageType, bytesMax: Limits.messageTypeBytesMax, hasOwnRule: true),
    .count("prompt_tokens", of: "token_usage", \.promptTokens),
    .count("completion_tokens", of: "token_usage", \.completionTokens),
    .amount("estimated_cost_nanos", \.estimatedCostNanos, allowed: 0...Limits.costNanosMax),
  ]

  /// The same without names, for what is done with every interaction.
  static let values = fields.map(\.value)

  /// Those whose declaration says what is allowed.
  static let ruled = fields.filter { !$0.hasOwnRule }
  static let ruledValues = ruled.map(\.value)

  /// Of the fields that hold text.
  static let texts: [Accessor<String>] = values.compactMap { if case .text(let text, _) = $0 { text } else { nil } }
}
