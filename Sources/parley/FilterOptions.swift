import ArgumentParser
import CommandSupport
import Core

/// The flags that select interactions.
struct FilterOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: "Only of this conversation.")
  var conversation: String?

  @Option(parsing: .unconditional, help: "Only of this model.")
  var model: String?

  @Option(help: "Only of this message type.")
  var type: String?

  @Flag(inversion: .prefixedNo, help: "Only with a hand-off to a person, or only without.")
  var handoff: Bool?

  @Option(
    parsing: .unconditional, help: "Only with this hand-off reason. Without a hand-off the reason is empty.")
  var reason: String?

  @Option(parsing: .unconditional, help: "Only with at least this confidence, 0 to 1.")
  var minConfidence: Double?

  @Option(parsing: .unconditional, help: "Only with at most this confidence, 0 to 1.")
  var maxConfidence: Double?

  @Option(parsing: .unconditional, help: "Only with an intent of this name.")
  var intent: String?

  @Option(help: "From this time on: RFC 3339, or a date (UTC).", transform: Timestamp.init(argument:))
  var from: Timestamp?

  @Option(help: "Before this time: RFC 3339, or a date (UTC).", transform: Timestamp.init(argument:))
  var to: Timestamp?

  func filter() throws -> InteractionFilter {
    if let from, let to, from > to {
      throw CommandFailure("--from \(from.rfc3339) is after --to \(to.rfc3339): exchange them")
    }
    var filter = InteractionFilter()
    filter.conversationID = conversation
    filter.modelUsed = model
    filter.messageType = type
    filter.handoffTriggered = handoff
    filter.handoffReason = reason
    filter.minConfidence = minConfidence
    filter.maxConfidence = maxConfidence
    filter.intent = intent
    filter.startTime = from
    filter.endTime = to
    return filter
  }
}
