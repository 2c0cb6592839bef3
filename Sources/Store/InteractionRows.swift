import Domain
import Postgres

extension Parameters {
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
