import Domain
import Foundation

// The shapes of JSON that the command reads and prints: the schema's field names, 64-bit integers as
// plain numbers.

struct IntentJSON: Codable {
  var name: String
  var confidence: Double
}

struct TokenUsageJSON: Codable {
  var promptTokens: Int32?
  var completionTokens: Int32?
  var totalTokens: Int32?
}

/// An interaction, as it is printed, and as `record` and `import` read it: there every field but the
/// conversation may be left out, the time may also be `created_at_ms`, token counts may stand flat, and
/// the cost may be `estimated_cost_usd`, a decimal string.
struct InteractionJSON: Codable {
  var id: String?
  var conversationId: String?
  var createdAt: String?
  var createdAtMs: Int64?
  var customerMessage: String?
  var agentResponse: String?
  var detectedIntents: [IntentJSON]?
  var modelUsed: String?
  var contextSize: Int32?
  var processingTimeMs: Int32?
  var confidenceScore: Double?
  var handoffTriggered: Bool?
  var handoffReason: String?
  var messageType: String?
  var tokenUsage: TokenUsageJSON?
  var promptTokens: Int32?
  var completionTokens: Int32?
  var totalTokens: Int32?
  var estimatedCostNanos: Int64?
  var estimatedCostUsd: String?
  var updatedAt: String?
  /// Read to choose lines by; never sent.
  var tenant: String?

  static let fields: Set<String> = [
    "id", "conversation_id", "created_at", "created_at_ms", "customer_message", "agent_response", "detected_intents",
    "model_used", "context_size", "processing_time_ms", "confidence_score", "handoff_triggered", "handoff_reason",
    "message_type", "token_usage", "prompt_tokens", "completion_tokens", "total_tokens", "estimated_cost_nanos",
    "estimated_cost_usd", "updated_at", "tenant",
  ]

  /// Why some JSON is no interaction.
  struct Failure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
      self.description = description
    }
  }

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

  /// - Returns: also the names of fields that are none of an interaction.
  static func read(_ json: Data) throws(Failure) -> (InteractionJSON, unknownFields: Set<String>) {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
      let interaction = try decoder.decode(InteractionJSON.self, from: json)
      let names = try JSONDecoder().decode([String: Anything].self, from: json).keys
      return (interaction, Set(names).subtracting(fields))
    } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
      throw Failure("\(path(context)): \(context.debugDescription)")
    } catch DecodingError.keyNotFound(let key, let context) {
      throw Failure("\(path(context, key)): is missing")
    } catch DecodingError.dataCorrupted(let context) {
      let place = path(context)
      throw Failure(
        place.isEmpty ? "is not JSON: \(context.debugDescription)" : "\(place): \(context.debugDescription)")
    } catch {
      throw Failure("\(error)")
    }
  }

  private static func path(_ context: DecodingError.Context, _ key: (any CodingKey)? = nil) -> String {
    (context.codingPath + (key.map { [$0] } ?? [])).map(\.stringValue).joined(separator: ".")
  }

  func draft() throws(Failure) -> InteractionDraft {
    var draft = InteractionDraft()
    draft.id = id ?? ""
    draft.createdAt = try time()
    draft.content.conversationID = conversationId ?? ""
    draft.content.customerMessage = customerMessage ?? ""
    draft.content.agentResponse = agentResponse ?? ""
    draft.content.detectedIntents = (detectedIntents ?? []).map { Intent(name: $0.name, confidence: $0.confidence) }
    draft.content.modelUsed = modelUsed ?? ""
    draft.content.contextSize = contextSize ?? 0
    draft.content.processingTimeMilliseconds = processingTimeMs ?? 0
    draft.content.confidenceScore = confidenceScore ?? 0
    draft.content.handoffTriggered = handoffTriggered ?? false
    draft.content.handoffReason = handoffReason ?? ""
    draft.content.messageType = messageType ?? ""
    draft.content.promptTokens = try one(promptTokens, tokenUsage?.promptTokens, "prompt_tokens") ?? 0
    draft.content.completionTokens = try one(completionTokens, tokenUsage?.completionTokens, "completion_tokens") ?? 0
    draft.totalTokens = try one(totalTokens, tokenUsage?.totalTokens, "total_tokens") ?? 0
    let nanos = try estimatedCostUsd.map { (text) throws(Failure) in try Self.nanos(usd: text) }
    draft.content.estimatedCostNanos = try one(estimatedCostNanos, nanos, "estimated_cost") ?? 0
    return draft
  }

  private func time() throws(Failure) -> Timestamp? {
    let parsed = try createdAt.map { (text) throws(Failure) in
      guard let time = Timestamp(rfc3339: text) else { throw Failure("created_at: \(text) is not RFC 3339") }
      return time
    }
    return try one(createdAtMs.map(Timestamp.init(milliseconds:)), parsed, "created_at")
  }

  private func one<Value: Equatable>(_ a: Value?, _ b: Value?, _ field: String) throws(Failure) -> Value? {
    if let a, let b, a != b { throw Failure("\(field): is given twice, with different values") }
    return a ?? b
  }

  /// A decimal number of dollars, exactly.
  static func nanos(usd text: String) throws(Failure) -> Int64 {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    let fraction = parts.count == 2 ? String(parts[1]) : ""
    let isDecimal =
      parts.count <= 2 && fraction.utf8.count <= 9 && (parts.count == 1 || !fraction.isEmpty)
      && parts.allSatisfy { part in !part.isEmpty && part.utf8.allSatisfy { (48...57).contains($0) } }
    guard isDecimal, let nanos = Int64(parts[0] + fraction + String(repeating: "0", count: 9 - fraction.utf8.count))
    else {
      throw Failure("estimated_cost_usd: \(text) is no decimal number of dollars with at most 9 places")
    }
    return nanos
  }
}

/// Any JSON value, unread.
private struct Anything: Decodable {
  init(from decoder: any Decoder) throws {}
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
  print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
