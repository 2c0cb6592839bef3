import CommandSupport
import Core
import Foundation

// The shapes of JSON that the command prints: the schema's field names, 64-bit integers as plain numbers.

/// A name of the schema as a key.
private struct FieldName: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }

  init(_ name: String) { stringValue = name }
  init?(stringValue: String) { self.init(stringValue) }
  init?(intValue: Int) { nil }
}

/// An interaction, as it is printed.
struct InteractionJSON: Encodable {
  private struct IntentJSON: Encodable {
    var name: String
    var confidence: Double
  }

  private let interaction: Interaction
  private let texts: Bool

  /// - Parameter texts: with its long texts.
  init(_ interaction: Interaction, texts: Bool) {
    self.interaction = interaction
    self.texts = texts
  }

  func encode(to encoder: any Encoder) throws {
    let content = interaction.content
    var fields = encoder.container(keyedBy: FieldName.self)
    try fields.encode(interaction.id.description, forKey: FieldName("id"))
    try fields.encode(interaction.createdAt.rfc3339, forKey: FieldName("created_at"))
    try fields.encodeIfPresent(interaction.updatedAt?.rfc3339, forKey: FieldName("updated_at"))
    var parents: [String: KeyedEncodingContainer<FieldName>] = [:]
    for field in InteractionContent.fields where texts || !field.isLong {
      guard let parent = field.parent else {
        try encode(field, to: &fields)
        continue
      }
      var message = parents[parent] ?? fields.nestedContainer(keyedBy: FieldName.self, forKey: FieldName(parent))
      try encode(field, to: &message)
      parents[parent] = message
    }
    try parents["token_usage"]?.encode(content.totalTokens, forKey: FieldName("total_tokens"))
  }

  private func encode(_ field: ContentField, to fields: inout KeyedEncodingContainer<FieldName>) throws {
    let name = FieldName(field.name)
    try interaction.content.withFields { content in
      switch field.value {
      case .text(let text, _): try fields.encode(text.get(content), forKey: name)
      case .count(let count): try fields.encode(count.get(content), forKey: name)
      case .optionalCount(let count): try fields.encodeIfPresent(count.get(content), forKey: name)
      case .amount(let amount, _): try fields.encode(amount.get(content), forKey: name)
      case .score(let score): try fields.encode(score.get(content), forKey: name)
      case .flag(let flag): try fields.encode(flag.get(content), forKey: name)
      case .intents(let intents):
        try fields.encode(
          intents.get(content).map { IntentJSON(name: $0.name, confidence: $0.confidence) }, forKey: name)
      }
    }
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
  private let stats: Stats

  init(_ stats: Stats) {
    self.stats = stats
  }

  func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: FieldName.self)
    for field in StatsField.all {
      let name = FieldName(field.name)
      switch field.get(stats) {
      case .whole(let value): try fields.encode(value, forKey: name)
      case .real(let value): try fields.encode(value, forKey: name)
      case .wholes(let values): try fields.encode(values, forKey: name)
      }
    }
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
