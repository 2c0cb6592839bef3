import ArgumentParser
import CommandSupport
import Core
import Foundation
import ParleyClient

struct Record: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Record one interaction, from flags or from JSON on standard input.",
    discussion: """
      Without --conversation it reads a JSON object with the schema's field names from standard input. The interaction is \
      recorded for the token's tenant.
      """)

  @OptionGroup var client: ClientOptions

  @Option(
    parsing: .unconditional, help: "The conversation it belongs to, at most \(Limits.conversationIDBytesMax) bytes.")
  var conversation: String?

  @Option(
    name: .customLong("customer"), parsing: .unconditional,
    help: "What the customer said, at most \(Limits.customerMessageBytesMax) bytes.")
  var customerMessage: String?

  @Option(
    name: .customLong("agent"), parsing: .unconditional,
    help: "What the agent responded, at most \(Limits.agentResponseBytesMax) bytes.")
  var agentResponse: String?

  @Option(parsing: .unconditional, help: "The model that responded.")
  var model: String?

  @Option(parsing: .unconditional, help: "How sure the agent was, 0 to 1.")
  var confidence: Double?

  @Option(parsing: .unconditional, help: "How long the response took, 0 to \(Int32.max) milliseconds.")
  var processingMs: Int32?

  @Option(parsing: .unconditional, help: "The context's size, 0 to \(Int32.max) tokens.")
  var contextSize: Int32?

  @Option(parsing: .unconditional, help: "Tokens read, 0 to \(Int32.max).")
  var promptTokens: Int32?

  @Option(parsing: .unconditional, help: "Tokens written, 0 to \(Int32.max); both together are no more.")
  var completionTokens: Int32?

  @Option(
    parsing: .unconditional,
    help: "Estimated cost, 0 to \(Limits.costNanosMax / 1_000_000_000) dollars, such as 0.0042.")
  var costUsd: String?

  @Flag(help: "There was a hand-off to a person.")
  var handoff = false

  @Option(parsing: .unconditional, help: "Why there was a hand-off; needs --handoff.")
  var reason: String?

  @Option(help: "The message type (text).")
  var type: String?

  @Option(
    name: .customLong("intent"), parsing: .unconditionalSingleValue,
    help: "A detected intent, NAME=CONFIDENCE, such as refund=0.9; may be repeated.")
  var intents: [String] = []

  @Option(help: "When it happened, RFC 3339 (now).")
  var createdAt: String?

  @Option(help: "Its UUIDv7 (one is made).")
  var id: String?

  @Option(help: "Your own id for this request, instead of --id; needs --created-at.")
  var requestID: String?

  func run() async throws {
    if conversation == nil, hasContent {
      throw CommandFailure("--conversation is missing; without any of these flags, JSON is read from standard input")
    }
    var draft = try conversation == nil ? readDraft() : flagsDraft()
    let retry = requestID == nil && draft.id.isEmpty ? makeID(&draft) : nil
    let recorded = try await client.ask(absenceTimeout: nil, retry: retry) { [draft] (client) throws(RPCError) in
      try await client.record(draft, requestID: requestID ?? "")
    }
    let same = requestID == nil ? sameID(recorded.id.description) : "the same --request-id"
    try RecordedNotice(recorded: recorded, sameInteraction: same).show(json: client.json)
  }

  /// Gives the draft an id. A time that no id can hold is left to the service to refuse.
  ///
  /// - Returns: how to record it again.
  private func makeID(_ draft: inout InteractionDraft) -> String? {
    let time = draft.createdAt ?? .now
    guard time.milliseconds >= 0 else { return nil }
    draft.id = InteractionID(at: time).description
    return "Retry with \(sameID(draft.id))."
  }

  private func sameID(_ id: String) -> String {
    conversation == nil ? "\"id\": \"\(id)\" in the JSON" : "--id \(id)"
  }

  /// Any flag was given that says what to record.
  private var hasContent: Bool {
    let texts = [customerMessage, agentResponse, model, costUsd, reason, type, createdAt, id]
    let counts = [processingMs, contextSize, promptTokens, completionTokens]
    return handoff || confidence != nil || !intents.isEmpty || texts.contains { $0 != nil }
      || counts.contains { $0 != nil }
  }

  private func readDraft() throws -> InteractionDraft {
    do {
      let (draft, tenant, unknown) = try InteractionDraft.read(try ReadableFile.standardInput.contents())
      // Passed over in silence, it would let one tenant's line be recorded as another's.
      guard tenant == nil else {
        throw CommandFailure("standard input: tenant: is the token's to say; leave the field out")
      }
      guard unknown.isEmpty else {
        throw CommandFailure("standard input: unknown fields: \(unknown.sorted().joined(separator: ", "))")
      }
      return draft
    } catch let failure as JSONFields.Failure {
      throw CommandFailure("standard input: \(failure)")
    }
  }

  private func creationTime(_ text: String) throws -> Timestamp {
    let time: Timestamp
    do {
      time = try Timestamp(argument: text)
    } catch {
      throw CommandFailure("--created-at \(text): \(error)")
    }
    guard time.milliseconds >= 0 else {
      throw CommandFailure("--created-at \(text) is before 1970, and the id of an interaction holds no such time")
    }
    return time
  }

  private func flagsDraft() throws -> InteractionDraft {
    var draft = InteractionDraft()
    draft.id = id ?? ""
    draft.createdAt = try createdAt.map(creationTime)
    draft.content.conversationID = conversation ?? ""
    draft.content.customerMessage = customerMessage ?? ""
    draft.content.agentResponse = agentResponse ?? ""
    draft.content.modelUsed = model ?? ""
    draft.content.confidenceScore = confidence ?? 0
    draft.content.processingTimeMilliseconds = processingMs ?? 0
    draft.content.contextSize = contextSize ?? 0
    draft.content.promptTokens = promptTokens ?? 0
    draft.content.completionTokens = completionTokens ?? 0
    do {
      draft.content.estimatedCostNanos = try costUsd.map { try InteractionDraft.nanos(usd: $0) } ?? 0
    } catch {
      throw CommandFailure("--cost-usd \(error)")
    }
    draft.content.handoffTriggered = handoff
    draft.content.handoffReason = reason ?? ""
    draft.content.messageType = type ?? ""
    draft.content.detectedIntents = try intents.map { text in
      guard let equals = text.lastIndex(of: "="), let confidence = Double(text[text.index(after: equals)...]) else {
        throw CommandFailure("--intent \(text): give NAME=CONFIDENCE, such as refund=0.9")
      }
      return Intent(name: String(text[..<equals]), confidence: confidence)
    }
    return draft
  }
}
