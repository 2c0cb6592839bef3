import Core
import Postgres

/// A field of a filter, but for its times: how a statement that is made for the fields that are set has it.
enum FilterField: CaseIterable {
  case conversationID, modelUsed, messageType, handoffTriggered, handoffReason, minConfidence, maxConfidence, intent

  /// A condition on a row, for the field's value in the statement's parameter of that number.
  func condition(_ parameter: Int) -> String {
    switch self {
    case .conversationID: "conversation_id = $\(parameter)::text"
    case .modelUsed: "model_used = $\(parameter)::text"
    case .messageType: "message_type = $\(parameter)::text"
    case .handoffTriggered: "handoff_triggered = $\(parameter)::bool"
    case .handoffReason: "handoff_reason = $\(parameter)::text"
    case .minConfidence: "\(BoundedColumns.confidenceScore) >= $\(parameter)::float8"
    case .maxConfidence: "\(BoundedColumns.confidenceScore) <= $\(parameter)::float8"
    case .intent: "$\(parameter)::text = ANY (\(BoundedColumns.intentNames))"
    }
  }

  fileprivate func isSet(in filter: InteractionFilter) -> Bool {
    switch self {
    case .conversationID: filter.conversationID != nil
    case .modelUsed: filter.modelUsed != nil
    case .messageType: filter.messageType != nil
    case .handoffTriggered: filter.handoffTriggered != nil
    case .handoffReason: filter.handoffReason != nil
    case .minConfidence: filter.minConfidence != nil
    case .maxConfidence: filter.maxConfidence != nil
    case .intent: filter.intent != nil
    }
  }

  fileprivate func add(_ filter: InteractionFilter, to parameters: inout Parameters) {
    switch self {
    case .conversationID: parameters.add(filter.conversationID)
    case .modelUsed: parameters.add(filter.modelUsed)
    case .messageType: parameters.add(filter.messageType)
    case .handoffTriggered: parameters.add(filter.handoffTriggered)
    case .handoffReason: parameters.add(filter.handoffReason)
    case .minConfidence: parameters.add(filter.minConfidence)
    case .maxConfidence: parameters.add(filter.maxConfidence)
    case .intent: parameters.add(filter.intent)
    }
  }
}

extension InteractionFilter {
  /// Those that are set, but for times.
  var fields: [FilterField] { FilterField.allCases.filter { $0.isSet(in: self) } }
}

extension Parameters {
  /// The values of these fields.
  mutating func add(_ fields: [FilterField], of filter: InteractionFilter) {
    for field in fields { field.add(filter, to: &self) }
  }

  /// The values of all fields, NULL for one that is not set: behind the tenant and the range of interaction_stats.sql.
  mutating func add(_ filter: InteractionFilter) { add(FilterField.allCases, of: filter) }
}
