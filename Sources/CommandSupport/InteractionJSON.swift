import Domain
import Foundation

// The shapes of JSON that the command reads and prints: the schema's field names, 64-bit integers as
// plain numbers.

extension InteractionDraft {
  /// Reads an interaction as `record` and `import` take it: every field but the conversation may be left
  /// out, the time may also be `created_at_ms`, token counts may stand flat, and the cost may be
  /// `estimated_cost_usd`, a decimal string. `tenant` and `updated_at` are read over.
  ///
  /// - Returns: also the line's tenant, to choose by, and the names of fields that are none of an interaction.
  static func read(
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
      try InteractionJSON.nanos(usd: usd)
    }
    draft.content.estimatedCostNanos = try one(try fields.whole("estimated_cost_nanos"), nanos, "estimated_cost") ?? 0
    _ = try fields.text("updated_at")
    let tenant = try fields.text("tenant")
    return (draft, tenant, fields.unknown)
  }

  private static func time(_ fields: inout JSONFields) throws(JSONFields.Failure) -> Timestamp? {
    let parsed = try fields.text("created_at").map { (text) throws(JSONFields.Failure) in
      guard let time = Timestamp(rfc3339: text) else {
        throw JSONFields.Failure("created_at: \(text.prefix(64)) is not RFC 3339, such as 2026-01-31T12:00:00Z")
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
}

/// An interaction, as it is printed.
struct InteractionJSON: Encodable {
  struct IntentJSON: Encodable {
    var name: String
    var confidence: Double
  }

  struct TokenUsageJSON: Encodable {
    var promptTokens: Int32
    var completionTokens: Int32
    var totalTokens: Int32
  }

  var id: String
  var conversationId: String
  var createdAt: String
  var customerMessage: String?
  var agentResponse: String?
  var detectedIntents: [IntentJSON]
  var modelUsed: String
  var contextSize: Int32
  var processingTimeMs: Int32
  var confidenceScore: Double
  var handoffTriggered: Bool
  var handoffReason: String
  var messageType: String
  var tokenUsage: TokenUsageJSON
  var estimatedCostNanos: Int64
  var updatedAt: String?

  init(_ interaction: Interaction, texts: Bool) {
    let content = interaction.content
    id = interaction.id.description
    conversationId = content.conversationID
    createdAt = interaction.createdAt.rfc3339
    if texts {
      customerMessage = content.customerMessage
      agentResponse = content.agentResponse
    }
    detectedIntents = content.detectedIntents.map { IntentJSON(name: $0.name, confidence: $0.confidence) }
    modelUsed = content.modelUsed
    contextSize = content.contextSize
    processingTimeMs = content.processingTimeMilliseconds
    confidenceScore = content.confidenceScore
    handoffTriggered = content.handoffTriggered
    handoffReason = content.handoffReason
    messageType = content.messageType
    tokenUsage = TokenUsageJSON(
      promptTokens: content.promptTokens, completionTokens: content.completionTokens, totalTokens: content.totalTokens)
    estimatedCostNanos = content.estimatedCostNanos
    updatedAt = interaction.updatedAt?.rfc3339
  }

  /// A decimal number of dollars, exactly.
  static func nanos(usd text: String) throws(JSONFields.Failure) -> Int64 {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    let fraction = parts.count == 2 ? String(parts[1]) : ""
    let isDecimal =
      parts.count <= 2 && fraction.utf8.count <= 9 && (parts.count == 1 || !fraction.isEmpty)
      && parts.allSatisfy { part in !part.isEmpty && part.utf8.allSatisfy { (48...57).contains($0) } }
    guard isDecimal, let nanos = Int64(parts[0] + fraction + String(repeating: "0", count: 9 - fraction.utf8.count))
    else {
      throw JSONFields.Failure(
        "estimated_cost_usd: \(text.prefix(64)) is no decimal number of dollars with at most 9 places")
    }
    return nanos
  }
}

struct RecordedJSON: Encodable {
  var interactionId: String
  var createdAt: String
  var alreadyRecorded: Bool
}

struct PageJSON: Encodable {
  var interactions: [InteractionJSON]
  var nextPageToken: String
}

struct StatsJSON: Encodable {
  var totalInteractions: Int64
  var totalCostNanos: Int64
  var avgConfidence: Double
  var handoffCount: Int64
  var handoffRate: Double
  var avgProcessingTimeMs: Double
  var p50ProcessingTimeMs: Int64
  var p95ProcessingTimeMs: Int64
  var p99ProcessingTimeMs: Int64
  var promptTokens: Int64
  var completionTokens: Int64
  var totalTokens: Int64
  var avgTokens: Double
  var highConfidenceCount: Int64
  var lowConfidenceCount: Int64
  var confidenceHistogram: [Int64]

  init(_ stats: Stats) {
    totalInteractions = stats.totalInteractions
    totalCostNanos = stats.totalCostNanos
    avgConfidence = stats.averageConfidence
    handoffCount = stats.handoffCount
    handoffRate = stats.handoffRate
    avgProcessingTimeMs = stats.averageProcessingTimeMilliseconds
    p50ProcessingTimeMs = stats.p50
    p95ProcessingTimeMs = stats.p95
    p99ProcessingTimeMs = stats.p99
    promptTokens = stats.promptTokens
    completionTokens = stats.completionTokens
    totalTokens = stats.totalTokens
    avgTokens = stats.averageTokens
    highConfidenceCount = stats.highConfidenceCount
    lowConfidenceCount = stats.lowConfidenceCount
    confidenceHistogram = stats.confidenceHistogram
  }
}

struct StatsReportJSON: Encodable {
  struct Group: Encodable {
    var key: String
    var stats: StatsJSON
    var isRemainder: Bool

    init(_ group: StatsGroup) {
      key = group.key
      stats = StatsJSON(group.stats)
      isRemainder = group.isRemainder
    }
  }

  struct Point: Encodable {
    var startTime: String
    var stats: StatsJSON
  }

  var totals: StatsJSON
  var byModel: [Group]
  var byMessageType: [Group]
  var byHandoffReason: [Group]
  var series: [Point]
  var startTime: String
  var endTime: String

  init(_ report: StatsReport) {
    totals = StatsJSON(report.totals)
    byModel = report.byModel.map(Group.init)
    byMessageType = report.byMessageType.map(Group.init)
    byHandoffReason = report.byHandoffReason.map(Group.init)
    series = report.series.map { Point(startTime: $0.start.rfc3339, stats: StatsJSON($0.stats)) }
    startTime = report.start.rfc3339
    endTime = report.end.rfc3339
  }
}

func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.keyEncodingStrategy = .convertToSnakeCase
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  try printLine(String(decoding: try encoder.encode(value), as: UTF8.self))
}
