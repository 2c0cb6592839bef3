import CMessages
import Core

extension InteractionDraft {
  /// - Parameter path: where the message stands in the request, for errors.
  init(_ message: UnsafePointer<Parley__V1__Interaction>, path: @autoclosure () -> String) throws(RPCError) {
    self.init()
    id = try text(message.pointee.id, "\(path()).id")
    createdAt = try timestamp(message.pointee.created_at, "\(path()).created_at")
    try ContentMessage.standard.read(message, into: &content, path: path)
    if let usage = message.pointee.token_usage { totalTokens = usage.pointee.total_tokens }
  }
}

extension Interaction {
  /// An interaction as the service sends it.
  init(_ message: UnsafePointer<Parley__V1__Interaction>) throws(RPCError) {
    var content = InteractionContent()
    try ContentMessage.standard.read(message, into: &content) { "interaction" }
    self.init(
      id: try interactionID(message.pointee.id, "id"), content: content,
      updatedAt: try timestamp(message.pointee.updated_at, "updated_at"))
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
    ContentMessage.standard.write(content, to: message, self)
    message.pointee.token_usage.pointee.total_tokens = totalTokens
    return message
  }
}
