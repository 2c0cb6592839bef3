import Domain
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Store

@Suite struct LeaseTests {
  /// It is asked for, and its work is done where its row was locked.
  private func ask(_ lease: inout Lease, hasLockedRow: Bool) {
    let works = lease.asked(hasLockedRow: hasLockedRow)
    #expect(works == hasLockedRow)
  }

  @Test func isHeldFromTheLockToTheTransactionsEnd() {
    var lease = Lease()
    #expect(lease.isFree)
    ask(&lease, hasLockedRow: true)
    #expect(lease.state == .held)
    lease.transactionEnded()
    #expect(lease.state == .ended)
    #expect(!lease.isFree, "another transaction needs another lease")
  }

  @Test func isElsewhereWhereTheRowIsThereAndCannotBeLocked() {
    var lease = Lease()
    ask(&lease, hasLockedRow: false)
    #expect(lease.state == .refused)
    lease.transactionEnded()
    #expect(lease.state == .refused, "that transaction held nothing")
    lease.lookedForRow(wasMissing: false)
    #expect(lease.state == .elsewhere)
    #expect(!lease.isFree)
  }

  @Test func isAskedForOnceMoreWhereTheRowWasMissing() {
    var lease = Lease()
    ask(&lease, hasLockedRow: false)
    lease.lookedForRow(wasMissing: true)
    #expect(lease.isFree)
    ask(&lease, hasLockedRow: true)
  }

  @Test func isAskedForNoFurtherWhereTheRowGoesMissingAgain() {
    var lease = Lease()
    for _ in 0..<2 {
      #expect(lease.isFree)
      ask(&lease, hasLockedRow: false)
      lease.lookedForRow(wasMissing: true)
    }
    #expect(lease.state == .elsewhere)
  }
}

/// The same by the rows themselves.
@Suite(.timeLimit(.minutes(5))) struct LeaseRowTests {
  private static let nothing = Statement("nothing", "SELECT")

  /// - Returns: whether the work was done.
  private func work(_ owner: OwnerConnection, under row: LeaseRow = .rollups) async throws -> Bool {
    try await owner.run { (session) throws(PostgresError) in
      try session.withLease(row) { (session) throws(PostgresError) in _ = try session.run(Command(Self.nothing)) }
        != nil
    }.get()
  }

  @Test func eachIsAskedForByItself() async throws {
    try await TestDatabase.with { database in
      let (owner, other) = (database.owner(), try database.session())
      try other.sql("BEGIN; SELECT FROM parley.leases WHERE name = 'rollups' FOR UPDATE")
      #expect(try await !work(owner))
      #expect(try await work(owner, under: .partitions))
      try other.unlock()
      #expect(try await work(owner))
    }
  }

  @Test func isMadeAgainAtOnceWhereItIsMissing() async throws {
    try await TestDatabase.with { database in
      try database.sql("DELETE FROM parley.leases")
      let owner = database.owner()
      #expect(try await work(owner))
      #expect(try await work(owner, under: .partitions))
      #expect(try database.sql("SELECT name FROM parley.leases ORDER BY name") == [["partitions"], ["rollups"]])
    }
  }

  /// Work that fails is rolled back, and the row is free at once; locks are waited for as before.
  @Test func isGivenBackByAFailure() async throws {
    try await TestDatabase.with { database in
      let owner = database.owner()
      let result = await owner.run { (session) throws(PostgresError) in
        _ = try session.withLease(.rollups) { (session) throws(PostgresError) in
          _ = try session.script("DELETE FROM parley.leases WHERE name = 'migrations'; SELECT 1 / 0")
        }
      }
      #expect(throws: PostgresError.self) { try result.get() }
      let other = try database.session()
      try other.sql("SELECT FROM parley.leases WHERE name = 'rollups' FOR UPDATE NOWAIT")
      #expect(try database.sql("SELECT count(*) FROM parley.leases") == [["3"]])
      let timeout = try await owner.run { (session) throws(PostgresError) in try session.script("SHOW lock_timeout") }
        .get()
      #expect(timeout == [["0"]])
    }
  }
}
