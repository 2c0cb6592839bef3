import TestSupport
import Testing

/// What a test rests on that a database does not do whose tables are distributed over the nodes of Citus.
enum NotDistributed: String {
  case ownTriggers = "The test's own triggers are on a table that is distributed, which can have none."
  case changesOfOthers = "Triggers notice what others change, and a distributed table has none."
  case partitionsOfRows = "Rows tell which shard they are in, not which partition."
  case changedTenants = "Rows are given to another tenant by UPDATE, which Citus refuses."
  case refusedSQL = "What the test itself does by SQL is refused by Citus."
  case countedStatements = "A read begins with a BEGIN that the test does not count."
  case coordinatorTables = "The test works on the coordinator's tables, and the rows are on the workers."
}

extension Trait where Self == ConditionTrait {
  /// For what only a distributed database shows.
  static var onlyDistributed: Self {
    .enabled(if: TestDatabase.isDistributed, "deploy/test citus runs it, on a coordinator and two workers")
  }

  static func notDistributed(_ reason: NotDistributed) -> Self {
    .disabled(if: TestDatabase.isDistributed, Comment(rawValue: reason.rawValue))
  }
}
