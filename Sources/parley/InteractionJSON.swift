import CommandSupport
import Domain
import Foundation

// The shapes of JSON that the command prints: the schema's field names, 64-bit integers as plain numbers.

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
