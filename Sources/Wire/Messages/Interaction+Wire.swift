import CMessages
import Domain

extension InteractionDraft {
  /// - Parameter path: where the message stands in the request, for errors.
  init(_ message: borrowing Parley__V1__Interaction, path: @autoclosure () -> String) throws(RPCError) {
    self.init()
    id = try text(message.id, "\(path()).id")
    createdAt = try timestamp(message.created_at, "\(path()).created_at")
    content = try InteractionContent(message, path: path)
    if let usage = message.token_usage { totalTokens = usage.pointee.total_tokens }
  }
}

extension Interaction {
  /// An interaction as the service sends it.
  init(_ message: borrowing Parley__V1__Interaction) throws(RPCError) {
    self.init(
      id: try interactionID(message.id, "id"),
      content: try InteractionContent(message) { "interaction" },
      updatedAt: try timestamp(message.updated_at, "updated_at"))
  }
}

extension InteractionContent {
  fileprivate init(_ message: borrowing Parley__V1__Interaction, path: () -> String) throws(RPCError) {
    self.init()
    conversationID = try text(message.conversation_id, "\(path()).conversation_id")
    customerMessage = try text(message.customer_message, "\(path()).customer_message")
    agentResponse = try text(message.agent_response, "\(path()).agent_response")
    detectedIntents.reserveCapacity(message.n_detected_intents)
    for (index, intent) in elements(message.n_detected_intents, message.detected_intents).enumerated() {
      detectedIntents.append(
        Intent(
          name: try text(intent.pointee.name, "\(path()).detected_intents[\(index)].name"),
          confidence: intent.pointee.confidence))
    }
    modelUsed = try text(message.model_used, "\(path()).model_used")
    contextSize = message.context_size
    processingTimeMilliseconds = message.processing_time_ms
    confidenceScore = message.confidence_score
    handoffTriggered = message.handoff_triggered != 0
    handoffReason = try text(message.handoff_reason, "\(path()).handoff_reason")
    messageType = try text(message.message_type, "\(path()).message_type")
    if let usage = message.token_usage?.pointee {
      promptTokens = usage.prompt_tokens
      completionTokens = usage.completion_tokens
    }
    estimatedCostNanos = message.estimated_cost_nanos
  }
}

/// An id that the service sends.
func interactionID(_ data: ProtobufCBinaryData, _ field: String) throws(RPCError) -> InteractionID {
  let text = try text(data, field)
  guard let id = InteractionID(text) else { throw .invalid(field, "is no UUID") }
  return id
}

extension Arena {
  func interaction(_ interaction: Interaction) -> UnsafeMutablePointer<Parley__V1__Interaction> {
    let message = content(interaction.content, totalTokens: interaction.content.totalTokens)
    message.pointee.id = text(interaction.id.description)
    message.pointee.created_at = timestamp(interaction.createdAt)
    message.pointee.updated_at = interaction.updatedAt.map(timestamp)
    return message
  }

  func interaction(_ draft: InteractionDraft) -> UnsafeMutablePointer<Parley__V1__Interaction> {
    let message = content(draft.content, totalTokens: draft.totalTokens)
    message.pointee.id = text(draft.id)
    message.pointee.created_at = draft.createdAt.map(timestamp)
    return message
  }

  private func content(
    _ content: InteractionContent, totalTokens: Int32
  ) -> UnsafeMutablePointer<Parley__V1__Interaction> {
    let message = make(parley__v1__interaction__init)
    message.pointee.conversation_id = text(content.conversationID)
    message.pointee.customer_message = text(content.customerMessage)
    message.pointee.agent_response = text(content.agentResponse)
    (message.pointee.n_detected_intents, message.pointee.detected_intents) = array(content.detectedIntents) {
      let intent = make(parley__v1__intent__init)
      intent.pointee.name = text($0.name)
      intent.pointee.confidence = $0.confidence
      return Optional(intent)
    }
    message.pointee.model_used = text(content.modelUsed)
    message.pointee.context_size = content.contextSize
    message.pointee.processing_time_ms = content.processingTimeMilliseconds
    message.pointee.confidence_score = content.confidenceScore
    message.pointee.handoff_triggered = content.handoffTriggered ? 1 : 0
    message.pointee.handoff_reason = text(content.handoffReason)
    message.pointee.message_type = text(content.messageType)
    let usage = make(parley__v1__token_usage__init)
    usage.pointee.prompt_tokens = content.promptTokens
    usage.pointee.completion_tokens = content.completionTokens
    usage.pointee.total_tokens = totalTokens
    message.pointee.token_usage = usage
    message.pointee.estimated_cost_nanos = content.estimatedCostNanos
    return message
  }
}
