import Core
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

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

/// A lease that a session has locked and forgotten.
@Suite(.timeLimit(.minutes(5))) struct LeaseWatchTests {
  @Test func isToldOnceAMinuteHasPassedAndThenAtGrowingPauses() {
    let (clock, lines) = (ManualClock(), LinesOfLog())
    let watch = LeaseWatch(clock: JobClock(clock), logger: lines.logger)
    func ask(_ seconds: Int, isElsewhere: Bool = true) {
      for _ in 0..<seconds {
        watch.asked(for: .rollups, isElsewhere: isElsewhere)
        clock.advance(by: .seconds(1))
      }
    }
    ask(60)
    #expect(lines.all == [])
    ask(1)
    #expect(lines.holds("warning", "lease=rollups", "seconds=60"))
    ask(240)
    #expect(lines.all.count == 3, "after 60, 120 and 240 s")
    // It was had meanwhile, or nobody had work for it.
    ask(1, isElsewhere: false)
    ask(59)
    clock.advance(by: .seconds(31))
    ask(59)
    #expect(lines.all.count == 3)
  }

  @Test func isToldByTheJobThatWaitsForIt() async throws {
    let (clock, lines) = (ManualClock(), LinesOfLog())
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      try await eventually("all is merged") { try database.isMerged() }
      let session = try database.session()
      try session.holdRollupLease()
      _ = try await store.record(.sample(), for: .a).get()
      let owner = database.owner()
      let watch = LeaseWatch(clock: JobClock(clock), logger: lines.logger)
      let job = RollupJob(PutOffTenants(logger: .silent), watch: watch, logger: .silent)
      for _ in 0..<4 {
        _ = try await owner.run { (session) throws(PostgresError) in try job.runOnce(on: session) }.get()
        clock.advance(by: .seconds(20))
      }
      #expect(lines.holds("lease=rollups", "seconds=60"))
      try session.unlock()
    }
  }
}
