import Core
import Postgres

extension Statement {
  fileprivate static let takeLease = Statement("lease_take", PackageResources.lease_take_sql)
  fileprivate static let addLease = Statement("lease_add", PackageResources.lease_add_sql)
}

/// The rows of `parley.leases` that are locked for the length of a transaction. Only the tables' owner can lock them.
enum LeaseRow: String {
  /// Of what changes rollups and posting lists. Servers of earlier versions lock the same row.
  case rollups
  case partitions
}

extension Session {
  /// Runs `body` in a transaction that holds the lease.
  ///
  /// - Parameters:
  ///   - row: nil to go without. Two at once stay right all the same: each works in one snapshot, and where both change the
  ///     same, one fails and tries again.
  ///   - watch: is told who has it.
  /// - Returns: nil where another server holds it.
  func withLease<R>(
    _ row: LeaseRow?, beginningWith begin: Statement = .beginRepeatableRead, _ watch: LeaseWatch? = nil,
    _ body: (Session) throws(PostgresError) -> R
  ) throws(PostgresError) -> R? {
    guard let row else { return try inTransaction([Command(begin)], body) }
    let take = Command(.takeLease) {
      $0.add(row.rawValue)
      $0.add("\(Limits.jobLockMillisecondsMax)ms")
    }
    var lease = Lease()
    while lease.isFree {
      let result = try inTransaction([Command(begin)]) { (session) throws(PostgresError) -> R? in
        let hasLockedRow = try session.run(take).count == 1
        guard lease.asked(hasLockedRow: hasLockedRow) else { return nil }
        watch?.asked(for: row, isElsewhere: false)
        return try body(session)
      }
      lease.transactionEnded()
      if let result { return result }
      lease.lookedForRow(wasMissing: try run(Command(.addLease) { $0.add(row.rawValue) }).count == 1)
    }
    watch?.asked(for: row, isElsewhere: true)
    return nil
  }
}
