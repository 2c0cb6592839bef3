import CMessages
public import Core

extension RecordInteraction: WireMessage {
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.recordInteractionRequest.decode(encoded) { (message) throws(RPCError) in
      guard let interaction = message.interaction else { throw .invalid("interaction", "is missing") }
      return RecordInteraction(
        interaction: try InteractionDraft(interaction, path: "interaction"),
        requestID: try text(message.request_id, "request_id"))
    }
  }

  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.recordInteractionRequest)
    message.pointee.interaction = arena.interaction(interaction)
    message.pointee.request_id = arena.text(requestID)
    return arena.encode(.recordInteractionRequest, message)
  }
}

extension RecordInteractions: WireMessage {
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.recordInteractionsRequest.decode(encoded) { (message) throws(RPCError) in
      RecordInteractions(
        interactions: elements(message.n_interactions, message.interactions).enumerated().map { index, draft in
          Result { () throws(RPCError) in
            try InteractionDraft(draft, path: "interactions[\(index)]")
          }
        })
    }
  }

  /// Only what could be read is written.
  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.recordInteractionsRequest)
    (message.pointee.n_interactions, message.pointee.interactions) =
      arena.array(interactions.compactMap { try? $0.get() }) { arena.interaction($0) }
    return arena.encode(.recordInteractionsRequest, message)
  }
}

extension Recorded: WireMessage {
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.recordInteractionResponse.decode(encoded) { (message) throws(RPCError) in
      Recorded(
        id: try interactionID(message.interaction_id, "interaction_id"),
        alreadyRecorded: message.already_recorded != 0)
    }
  }

  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.recordInteractionResponse)
    message.pointee.interaction_id = arena.text(id.description)
    message.pointee.created_at = arena.timestamp(createdAt)
    message.pointee.already_recorded = alreadyRecorded ? 1 : 0
    return arena.encode(.recordInteractionResponse, message)
  }
}

extension [Result<Recorded, RPCError>]: WireMessage {
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.recordInteractionsResponse.decode(encoded) { (message) throws(RPCError) in
      var results: [Result<Recorded, RPCError>] = []
      for result in elements(message.n_results, message.results).map(\.pointee) {
        if let error = result.error, let error = try RPCError(error.pointee) {
          results.append(.failure(error))
        } else {
          results.append(
            .success(
              Recorded(
                id: try interactionID(result.interaction_id, "results.interaction_id"),
                alreadyRecorded: result.already_recorded != 0)))
        }
      }
      return results
    }
  }

  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.recordInteractionsResponse)
    (message.pointee.n_results, message.pointee.results) = arena.array(self) { outcome in
      let result = arena.make(parley__v1__record_result__init)
      switch outcome {
      case .success(let recorded):
        result.pointee.interaction_id = arena.text(recorded.id.description)
        result.pointee.created_at = arena.timestamp(recorded.createdAt)
        result.pointee.already_recorded = recorded.alreadyRecorded ? 1 : 0
      case .failure(let error):
        result.pointee.error = arena.recordError(error)
      }
      return Optional(result)
    }
    return arena.encode(.recordInteractionsResponse, message)
  }
}
