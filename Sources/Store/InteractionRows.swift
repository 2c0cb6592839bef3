import Domain
import Foundation
import Postgres

// How an interaction stands in a row: the parameters of interaction_insert.sql, the columns of
// interactions_get.sql and interaction_page.sql.

/// The parameters of interaction_insert.sql. Neither names `updated_at`: its default is the transaction's time by
/// PostgreSQL's clock, whichever of the two writes the row.
let copyInteractions = String(decoding: PackageResources.interaction_copy_sql, as: UTF8.self)

extension Statement {
  static let insertInteraction = Statement("interaction_insert", PackageResources.interaction_insert_sql)
  /// The same for several rows at once, which spares each most of what a statement costs. Greatest number first.
  static let insertInteractions = [16, 8, 4, 2].map { (count: $0, statement: insertInteraction(times: $0)) }

  private static func insertInteraction(times count: Int) -> Statement {
    let parts = insertInteraction.text.split(separator: "VALUES")
    let rows = (0..<count).map { row in
      parts[1].replacing(/\$(\d+)/) { "$\(Int($0.1)! + row * Parameters.interactionCount)" }
    }
    return Statement("interaction_insert_\(count)", parts[0] + "VALUES" + rows.joined(separator: ","))
  }

  /// One interaction in a transaction of its own, which one statement is. The tenant's name and change record, and
  /// how long it waits for what others have locked, are the last parameters.
  static let recordInteraction: Statement = {
    let change = addChangeText(name: "$18", number: "$1", additions: "$19", lockMax: "$20")
    let parts = insertInteraction.text.split(separator: "VALUES")
    let values = parts[1].trimmingCharacters(in: CharacterSet(charactersIn: "() \n"))
    return Statement(
      "interaction_record",
      "WITH change AS (\n\(change)RETURNING tenant)\n\(parts[0])SELECT \(values)\nFROM change")
  }()

  static let getInteractions = StatementOfMonths(
    "interactions_get", BoundedColumns.fill(PackageResources.interactions_get_sql))
  static let interactionStats = Statement(
    "interaction_stats", BoundedColumns.fill(PackageResources.interaction_stats_sql))
}

extension Parameters {
  /// Of one interaction.
  fileprivate static let interactionCount = 17

  /// The same bytes for the same content, and other bytes for any other.
  init(_ interaction: Interaction, tenant: TenantKey) {
    let content = interaction.content
    self.init(bytesExpected: interaction.bytes)
    add(tenant.rawValue)
    add(interaction.id)
    add(content.conversationID)
    add(content.customerMessage)
    add(content.agentResponse)
    let intents = content.detectedIntents
    addArray(of: PostgresType.text, count: intents.count) { for intent in intents { $0.add(intent.name) } }
    addArray(of: PostgresType.float8, count: intents.count) { for intent in intents { $0.add(intent.confidence + 0) } }
    add(content.modelUsed)
    add(content.contextSize)
    add(content.processingTimeMilliseconds)
    // -0 equals 0, and is 0 here.
    add(content.confidenceScore + 0)
    add(content.handoffTriggered)
    add(content.handoffReason)
    add(content.messageType)
    add(content.promptTokens)
    add(content.completionTokens)
    add(content.estimatedCostNanos)
  }

  /// The first three parameters of interaction_page.sql and interaction_stats.sql.
  mutating func add(tenant: TenantKey, from: InteractionID, upTo: InteractionID) {
    add(tenant.rawValue)
    add(from)
    add(upTo)
  }

  /// The eight behind them.
  mutating func add(_ filter: InteractionFilter) {
    add(filter.conversationID)
    add(filter.modelUsed)
    add(filter.messageType)
    add(filter.handoffTriggered)
    add(filter.handoffReason)
    add(filter.minConfidence)
    add(filter.maxConfidence)
    add(filter.intent)
  }
}

extension Interaction {
  init(_ row: Row) throws(PostgresError) {
    var content = InteractionContent()
    content.conversationID = try row.text(1)
    content.customerMessage = try row.text(2)
    content.agentResponse = try row.text(3)
    content.detectedIntents = zip(try row.texts(4), try row.doubles(5)).map(Intent.init)
    content.modelUsed = try row.text(6)
    content.contextSize = try row.int32(7)
    content.processingTimeMilliseconds = try row.int32(8)
    content.confidenceScore = try row.double(9)
    content.handoffTriggered = try row.bool(10)
    content.handoffReason = try row.text(11)
    content.messageType = try row.text(12)
    content.promptTokens = try row.int32(13)
    content.completionTokens = try row.int32(14)
    content.estimatedCostNanos = try row.int64(15)
    self.init(id: try row.id(0), content: content, updatedAt: try row.timestamp(16))
  }

  static let columns = 17
}
