/// Which interactions a list or statistics speak of: those that meet every field that is set.
public struct InteractionFilter: Hashable, Sendable {
  public var conversationID: String?
  public var modelUsed: String?
  public var messageType: String?
  public var handoffTriggered: Bool?
  public var handoffReason: String?
  /// Inclusive.
  public var minConfidence: Double?
  /// Inclusive.
  public var maxConfidence: Double?
  /// Has an intent of that name.
  public var intent: String?
  /// Inclusive.
  public var startTime: Timestamp?
  /// Exclusive.
  public var endTime: Timestamp?

  public init() {}

  /// Every interaction of its range meets it.
  public var selectsByTimeAlone: Bool {
    var range = InteractionFilter()
    (range.startTime, range.endTime) = (startTime, endTime)
    return self == range
  }

  /// No time lies in the range.
  public var selectsNoTime: Bool {
    if let startTime, let endTime { startTime == endTime } else { false }
  }

  func check() throws(RPCError) {
    var violations = Violations()
    let texts = [
      ("conversation_id", conversationID, Limits.conversationIDBytesMax),
      ("model_used", modelUsed, Limits.modelUsedBytesMax),
      ("handoff_reason", handoffReason, Limits.handoffReasonBytesMax),
      ("intent", intent, Limits.intentNameBytesMax),
    ]
    for (field, text, limit) in texts {
      if let text { violations.requireBytes(of: text, atMost: limit, "filter.\(field)") }
    }
    if let messageType { violations.requireMessageType(messageType, "filter.message_type") }
    if let minConfidence { violations.requireUnit(minConfidence, "filter.min_confidence") }
    if let maxConfidence { violations.requireUnit(maxConfidence, "filter.max_confidence") }
    if let minConfidence, let maxConfidence {
      violations.require(
        !(minConfidence > maxConfidence), "filter.min_confidence",
        "is \(minConfidence), above max_confidence \(maxConfidence)")
    }
    if let startTime, let endTime {
      // Both in one millisecond: nothing lies between them.
      violations.require(startTime <= endTime, "filter.start_time", "is after end_time")
    }
    try violations.check()
  }

  /// The same bytes for the same filter, other bytes for any other: what page tokens are bound to.
  var bytes: [UInt8] {
    var bytes: [UInt8] = []
    func add(_ text: String?) {
      // The count keeps neighbours apart; absent is no count a text can have.
      withUnsafeBytes(of: Int64(text?.utf8.count ?? -1).littleEndian) { bytes.append(contentsOf: $0) }
      if let text { bytes.append(contentsOf: text.utf8) }
    }
    add(conversationID)
    add(modelUsed)
    add(messageType)
    add(handoffTriggered.map { "\($0)" })
    add(handoffReason)
    // -0 equals 0, and is 0 here.
    add(minConfidence.map { "\($0 + 0)" })
    add(maxConfidence.map { "\($0 + 0)" })
    add(intent)
    add(startTime.map { "\($0.milliseconds)" })
    add(endTime.map { "\($0.milliseconds)" })
    return bytes
  }
}
