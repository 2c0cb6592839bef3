import Core
import Postgres

/// A filter that rollups can answer.
struct RollupFilter {
  var modelUsed: String?
  var messageType: String?
  var handoffTriggered: Bool?
  var handoffReason: String?
  var leastBin: Int16?
  var greatestBin: Int16?

  init() {}

  /// nil for a filter that has no rollups: by a conversation, by an intent, or by a bound of confidence that is not an edge of
  /// the histogram.
  init?(_ filter: InteractionFilter) {
    guard filter.conversationID == nil, filter.intent == nil else { return nil }
    modelUsed = filter.modelUsed
    messageType = filter.messageType
    handoffTriggered = filter.handoffTriggered
    handoffReason = filter.handoffReason
    if let least = filter.minConfidence, least > 0 {
      guard let bin = ChangeEntry.binEdges.firstIndex(of: least) else { return nil }
      leastBin = Int16(bin)
    }
    if let most = filter.maxConfidence, most < 1 {
      // An inclusive bound is an edge of bins when it is the last number below one.
      guard let bin = ChangeEntry.binEdges.firstIndex(of: most.nextUp), bin > 0 else { return nil }
      greatestBin = Int16(bin - 1)
    }
  }

  var isByBin: Bool { leastBin != nil || greatestBin != nil }

  var selectsAll: Bool {
    !isByBin && modelUsed == nil && messageType == nil && handoffTriggered == nil && handoffReason == nil
  }
}

extension Parameters {
  /// The fifth to the tenth parameter of rollups_read.sql.
  mutating func add(_ filter: RollupFilter) {
    add(filter.modelUsed)
    add(filter.messageType)
    add(filter.handoffTriggered)
    add(filter.handoffReason)
    add(filter.leastBin)
    add(filter.greatestBin)
  }
}
