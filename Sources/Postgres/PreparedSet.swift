/// The statements that a session has prepared. Of those that have many forms it keeps a bounded number.
struct PreparedSet {
  private var prepared: Set<Statement> = []
  /// Those of many forms, each with its place in the order in which they were last sent.
  private var lastSent: [Statement: Int] = [:]
  private var sentCount = 0

  /// Each takes some 50 KiB of a session's memory, or more.
  private static let manyFormedMax = 256

  func contains(_ statement: Statement) -> Bool { prepared.contains(statement) }
  mutating func insert(_ statement: Statement) { prepared.insert(statement) }
  mutating func remove(_ statement: Statement) { prepared.remove(statement) }

  mutating func markSent(_ statement: Statement) {
    guard statement.hasManyForms else { return }
    sentCount += 1
    lastSent[statement] = sentCount
  }

  /// The one to deallocate that was not sent for longest, where there are too many.
  mutating func takeSurplus() -> Statement? {
    while lastSent.count > Self.manyFormedMax {
      let oldest = lastSent.min { $0.value < $1.value }!.key
      lastSent[oldest] = nil
      // It is not prepared where PostgreSQL has refused that.
      if prepared.contains(oldest) { return oldest }
    }
    return nil
  }
}
