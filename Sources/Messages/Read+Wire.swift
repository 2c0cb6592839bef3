import CMessages
public import Core

extension InteractionFilter {
  init(_ message: UnsafePointer<Parley__V1__InteractionFilter>?) throws(RPCError) {
    self.init()
    guard let message = message?.pointee else { return }
    // A case is the field's number where the field is present, 0 where it is not.
    if message._conversation_id_case.rawValue != 0 {
      conversationID = try text(message.conversation_id, "filter.conversation_id")
    }
    if message._model_used_case.rawValue != 0 { modelUsed = try text(message.model_used, "filter.model_used") }
    if message._message_type_case.rawValue != 0 {
      messageType = try text(message.message_type, "filter.message_type")
    }
    if message._handoff_triggered_case.rawValue != 0 { handoffTriggered = message.handoff_triggered != 0 }
    if message._handoff_reason_case.rawValue != 0 {
      handoffReason = try text(message.handoff_reason, "filter.handoff_reason")
    }
    if message._min_confidence_case.rawValue != 0 { minConfidence = message.min_confidence }
    if message._max_confidence_case.rawValue != 0 { maxConfidence = message.max_confidence }
    if message._intent_case.rawValue != 0 { intent = try text(message.intent, "filter.intent") }
    if message._start_time_case.rawValue != 0 {
      startTime = try timestamp(message.start_time, rounding: .up, "filter.start_time")
    }
    if message._end_time_case.rawValue != 0 {
      endTime = try timestamp(message.end_time, rounding: .up, "filter.end_time")
    }
  }
}

extension Arena {
  func filter(_ filter: InteractionFilter) -> UnsafeMutablePointer<Parley__V1__InteractionFilter> {
    let message = make(parley__v1__interaction_filter__init)
    if let value = filter.conversationID {
      message.pointee._conversation_id_case = .init(1)
      message.pointee.conversation_id = text(value)
    }
    if let value = filter.modelUsed {
      message.pointee._model_used_case = .init(2)
      message.pointee.model_used = text(value)
    }
    if let value = filter.messageType {
      message.pointee._message_type_case = .init(3)
      message.pointee.message_type = text(value)
    }
    if let value = filter.handoffTriggered {
      message.pointee._handoff_triggered_case = .init(4)
      message.pointee.handoff_triggered = value ? 1 : 0
    }
    if let value = filter.handoffReason {
      message.pointee._handoff_reason_case = .init(5)
      message.pointee.handoff_reason = text(value)
    }
    if let value = filter.minConfidence {
      message.pointee._min_confidence_case = .init(6)
      message.pointee.min_confidence = value
    }
    if let value = filter.maxConfidence {
      message.pointee._max_confidence_case = .init(7)
      message.pointee.max_confidence = value
    }
    if let value = filter.intent {
      message.pointee._intent_case = .init(8)
      message.pointee.intent = text(value)
    }
    if let value = filter.startTime {
      message.pointee._start_time_case = .init(9)
      message.pointee.start_time = timestamp(value)
    }
    if let value = filter.endTime {
      message.pointee._end_time_case = .init(10)
      message.pointee.end_time = timestamp(value)
    }
    return message
  }
}

extension ListInteractions: WireMessage {
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.listInteractionsRequest.decode(encoded) { (message) throws(RPCError) in
      let view: InteractionView =
        switch message.view {
        case PARLEY__V1__INTERACTION_VIEW__INTERACTION_VIEW_UNSPECIFIED,
          PARLEY__V1__INTERACTION_VIEW__INTERACTION_VIEW_BASIC:
          .basic
        case PARLEY__V1__INTERACTION_VIEW__INTERACTION_VIEW_FULL: .full
        default: throw .invalid("view", "is \(message.view.rawValue); allowed are BASIC (1) and FULL (2)")
        }
      return ListInteractions(
        filter: try InteractionFilter(message.filter), pageSize: message.page_size,
        pageToken: try text(message.page_token, "page_token"), view: view)
    }
  }

  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.listInteractionsRequest)
    message.pointee.filter = arena.filter(filter)
    message.pointee.page_size = pageSize
    message.pointee.page_token = arena.text(pageToken)
    message.pointee.view =
      view == .full
      ? PARLEY__V1__INTERACTION_VIEW__INTERACTION_VIEW_FULL : PARLEY__V1__INTERACTION_VIEW__INTERACTION_VIEW_BASIC
    return arena.encode(.listInteractionsRequest, message)
  }
}

extension InteractionPage: WireMessage {
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.listInteractionsResponse.decode(encoded) { (message) throws(RPCError) in
      var interactions: [Interaction] = []
      for interaction in elements(message.n_interactions, message.interactions) {
        interactions.append(try Interaction(interaction))
      }
      return InteractionPage(
        interactions: interactions, nextPageToken: try text(message.next_page_token, "next_page_token"))
    }
  }

  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.listInteractionsResponse)
    (message.pointee.n_interactions, message.pointee.interactions) =
      arena.array(interactions) { arena.interaction($0) }
    message.pointee.next_page_token = arena.text(nextPageToken)
    return arena.encode(.listInteractionsResponse, message)
  }
}

extension GetInteraction: WireMessage {
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.getInteractionRequest.decode(encoded) { (message) throws(RPCError) in
      GetInteraction(id: try text(message.id, "id"))
    }
  }

  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.getInteractionRequest)
    message.pointee.id = arena.text(id)
    return arena.encode(.getInteractionRequest, message)
  }
}

extension Interaction: WireMessage {
  /// From a `GetInteractionResponse`.
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.getInteractionResponse.decode(encoded) { (message) throws(RPCError) in
      guard let interaction = message.interaction else { throw .invalid("interaction", "is missing") }
      return try Interaction(interaction)
    }
  }

  /// As a `GetInteractionResponse`.
  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.getInteractionResponse)
    message.pointee.interaction = arena.interaction(self)
    return arena.encode(.getInteractionResponse, message)
  }
}
