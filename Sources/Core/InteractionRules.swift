/// Collects what is wrong with a request's fields, so that a caller learns all of it at once.
struct Violations {
  private var found: [RPCError.FieldViolation] = []

  /// Paths and descriptions are closures, for almost every request is right and pays for none.
  mutating func require(
    _ holds: Bool, _ field: @autoclosure () -> String, _ description: @autoclosure () -> String
  ) {
    if !holds { found.append(.init(field: field(), description: description())) }
  }

  mutating func requireBytes(of text: String, atMost limit: Int, _ field: @autoclosure () -> String) {
    let bytes = text.utf8.count
    require(bytes <= limit, field(), "is \(bytes) bytes long; at most \(limit) are allowed")
  }

  /// NaN is in no range.
  mutating func requireUnit(_ value: Double, _ field: @autoclosure () -> String) {
    require((0...1).contains(value), field(), "is \(value); allowed is 0 to 1")
  }

  mutating func requireCount(_ value: Int32, _ field: @autoclosure () -> String) {
    require(value >= 0, field(), "is \(value); it cannot be negative")
  }

  /// What the declaration of a field allows.
  mutating func require(
    _ value: ContentField.Value, of content: UnsafePointer<InteractionContent>, _ field: @autoclosure () -> String
  ) {
    switch value {
    case .text(let text, let max): text.read(content) { requireBytes(of: $0, atMost: max, field()) }
    case .count(let count): requireCount(count.get(content), field())
    case .optionalCount(let count): requireCount(count.get(content) ?? 0, field())
    case .amount(let amount, let allowed):
      let value = amount.get(content)
      require(
        allowed.contains(value), field(),
        "is \(value); allowed is \(allowed.lowerBound) to \(allowed.upperBound)")
    case .score(let score): requireUnit(score.get(content), field())
    // What else is allowed, `normalized` says.
    case .flag, .intents: break
    }
  }

  mutating func requireMessageType(_ value: String, _ field: @autoclosure () -> String) {
    require(
      isMessageType(value), field(),
      "is \(quoted(value)); allowed is a lower-case letter and up to 19 of a-z, 0-9 and _")
  }

  func check() throws(RPCError) {
    if !found.isEmpty { throw .invalid(Array(found.prefix(Limits.violationsMax))) }
  }
}

/// `[a-z][a-z0-9_]{0,19}`
private func isMessageType(_ value: String) -> Bool {
  let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
  let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
  guard let first = value.utf8.first, letters.contains(first) else { return false }
  return value.utf8.count <= Limits.messageTypeBytesMax
    && value.utf8.allSatisfy { letters.contains($0) || digits.contains($0) || $0 == UInt8(ascii: "_") }
}

/// A caller's text as an error may repeat it: short, and on one line.
func quoted(_ text: String) -> String {
  let shown = text.unicodeScalars.prefix(40)
  return shown.reduce(into: "\"") { $0 += $1.escaped(asASCII: false) }
    + (shown.endIndex < text.unicodeScalars.endIndex ? "…\"" : "\"")
}

extension InteractionDraft {
  /// The interaction this draft describes, with everything filled in that a caller may leave out.
  ///
  /// - Parameters:
  ///   - requestID: the caller's own id for the request, or empty.
  ///   - path: where the draft stands in the request, for errors.
  func checked(requestID: String = "", now: Timestamp, path: @autoclosure () -> String)
    throws(RPCError) -> Interaction
  {
    var violations = Violations()
    let id = identity(requestID: requestID, now: now, path: path, &violations)
    let content = normalized(path: path, &violations)
    try violations.check()
    return Interaction(id: id, content: content)
  }

  private func identity(
    requestID: String, now: Timestamp, path: () -> String, _ violations: inout Violations
  ) -> InteractionID {
    var timeField: String { "\(path()).created_at" }
    if let createdAt {
      violations.require(createdAt.milliseconds >= 0, timeField, "is before 1970")
      requireNotAhead(createdAt, timeField)
    }
    if !requestID.isEmpty {
      violations.requireBytes(of: requestID, atMost: Limits.requestIDBytesMax, "request_id")
      violations.require(id.isEmpty, "request_id", "cannot stand beside interaction.id; send one of them")
      violations.require(
        createdAt != nil, timeField, "is missing; with request_id the id is derived from both")
      return InteractionID(at: plausible(createdAt), requestID: requestID)
    }
    guard !id.isEmpty else { return InteractionID(at: plausible(createdAt ?? now)) }

    var idField: String { "\(path()).id" }
    guard let id = InteractionID(id), id.isVersion7 else {
      violations.require(
        false, idField,
        "is \(quoted(id)); allowed is a UUIDv7 in its 36-character form, or nothing")
      return InteractionID(at: now)
    }
    if let createdAt {
      violations.require(
        createdAt == id.time, timeField,
        "is \(createdAt.milliseconds) ms since 1970 where the id says \(id.time.milliseconds); they must agree to the millisecond"
      )
    } else {
      requireNotAhead(id.time, idField)
    }
    return id

    func requireNotAhead(_ time: Timestamp, _ field: @autoclosure () -> String) {
      violations.require(
        time <= now + Limits.createdAheadMillisecondsMax, field(),
        "lies \(hours(time.milliseconds - now.milliseconds)) ahead of the server; at most \(hours(Limits.createdAheadMillisecondsMax)) are allowed"
      )
    }
  }

  /// Rounded up, so that what is past a limit never looks like the limit.
  private func hours(_ milliseconds: Int64) -> String { "\((milliseconds + 3_599_999) / 3_600_000) hours" }

  /// A time that fits an id, while a violation may yet refuse the draft.
  private func plausible(_ time: Timestamp?) -> Timestamp {
    InteractionID(lowerBound: time ?? Timestamp(milliseconds: 0)).time
  }

  private func normalized(path: () -> String, _ violations: inout Violations) -> InteractionContent {
    var content = content
    violations.require(!content.conversationID.isEmpty, "\(path()).conversation_id", "is empty; it is required")
    content.withFields { content in
      for (index, value) in InteractionContent.ruledValues.enumerated() {
        violations.require(value, of: content, "\(path()).\(InteractionContent.ruled[index].path)")
      }
    }
    violations.require(
      content.handoffReason.isEmpty || content.handoffTriggered, "\(path()).handoff_reason",
      "is given without handoff_triggered; set both or neither")

    violations.require(
      content.detectedIntents.count <= Limits.intentsMax, "\(path()).detected_intents",
      "are \(content.detectedIntents.count); at most \(Limits.intentsMax) are allowed")
    for (index, intent) in content.detectedIntents.prefix(Limits.intentsMax).enumerated() {
      var intentPath: String { "\(path()).detected_intents[\(index)]" }
      violations.require(!intent.name.isEmpty, "\(intentPath).name", "is empty; it is required")
      violations.requireBytes(of: intent.name, atMost: Limits.intentNameBytesMax, "\(intentPath).name")
      violations.requireUnit(intent.confidence, "\(intentPath).confidence")
    }

    var usage: String { "\(path()).token_usage" }
    let (total, overflow) = content.promptTokens.addingReportingOverflow(content.completionTokens)
    violations.require(
      !overflow, "\(usage).total_tokens", "prompt_tokens + completion_tokens pass \(Int32.max)")
    violations.require(
      totalTokens == 0 || overflow || totalTokens == total, "\(usage).total_tokens",
      "is \(totalTokens) where prompt_tokens + completion_tokens are \(total); send the sum, or 0 to have it filled in")

    if content.messageType.isEmpty {
      content.messageType = "text"
    } else {
      violations.requireMessageType(content.messageType, "\(path()).message_type")
    }
    // -0 equals 0 but has other bytes; one value, one form.
    if content.confidenceScore == 0 { content.confidenceScore = 0 }
    for index in content.detectedIntents.indices where content.detectedIntents[index].confidence == 0 {
      content.detectedIntents[index].confidence = 0
    }
    return content
  }
}
