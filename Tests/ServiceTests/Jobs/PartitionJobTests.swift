import Core
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct PartitionJobTests {
  /// The date that a job goes by.
  private final class Calendar: Sendable {
    private let date: Mutex<Timestamp>

    init(_ text: String) { date = Mutex(Timestamp(text)) }

    var now: Timestamp { date.withLock(\.self) }
    func turn(to text: String) { date.withLock { $0 = Timestamp(text) } }
  }

  private struct Server {
    let partitions: PartitionManager
    let runner: JobRunner

    init(_ database: TestDatabase, _ calendar: Calendar) {
      let owner = database.owner()
      partitions = PartitionManager(owner)
      let job = PartitionJob(partitions) { calendar.now }
      runner = JobRunner([.init(job, on: owner)], logger: .silent)
    }
  }

  /// The months after 2030 that have one.
  private func months(_ database: TestDatabase) throws -> [String] {
    try database.sql(
      """
      SELECT right(relname, 7) FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid
      WHERE inhparent = 'parley.interactions'::regclass AND relname > 'interactions_2030' AND relname ~ '\\d$'
      ORDER BY 1
      """
    ).map { $0[0] }
  }

  @Test func makesTheMonthsAheadAsTimeGoesOn() async throws {
    let calendar = Calendar("2031-01-15T12:00:00.000Z")
    try await TestDatabase.with { database in
      let server = Server(database, calendar)
      try await server.runner.runOnce()
      #expect(try months(database) == ["2031_01", "2031_02", "2031_03"])
      #expect(server.partitions.known.areFarAhead)
      let made = try database.sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'parley.interactions'::regclass")
      #expect(made == [["\(server.partitions.known.count ?? 0)"]])
      // A call that records now need not look.
      #expect(server.partitions.daysWithoutPartition(for: [calendar.now]) == [])
      calendar.turn(to: "2031-01-29T12:00:00.000Z")
      try await server.runner.runOnce()
      #expect(try months(database) == ["2031_01", "2031_02", "2031_03", "2031_04"])
      calendar.turn(to: "2031-12-31T23:59:59.999Z")
      try await server.runner.runOnce()
      #expect(try months(database).suffix(3) == ["2031_12", "2032_01", "2032_03"])
    }
  }

  @Test func leavesThemToWhoeverHasTheLease() async throws {
    let calendar = Calendar("2031-01-15T12:00:00.000Z")
    try await TestDatabase.with { database in
      let (server, other) = (Server(database, calendar), Server(database, calendar))
      let session = try database.session()
      try session.sql("BEGIN; SELECT FROM parley.leases WHERE name = 'partitions' FOR UPDATE")
      try await server.runner.runOnce()
      #expect(try months(database) == [])
      #expect(server.partitions.daysWithoutPartition(for: [calendar.now]).count == 1, "it is looked for again")
      try session.unlock()
      try await other.runner.runOnce()
      #expect(try months(database).count == 3)
      // Who comes later finds them there: it needs no lease.
      try session.sql("BEGIN; SELECT FROM parley.leases WHERE name = 'partitions' FOR UPDATE")
      try await server.runner.runOnce()
      #expect(server.partitions.daysWithoutPartition(for: [calendar.now]) == [])
    }
  }

  /// Anybody can hold the lock by which two are kept from making the same: the job does not wait for ever.
  @Test func failsWhereALockIsHeldAndSucceedsAfterwards() async throws {
    let calendar = Calendar("2031-01-15T12:00:00.000Z")
    try await TestDatabase.with { database in
      let server = Server(database, calendar)
      let session = try database.session()
      try session.sql("SELECT pg_advisory_lock(hashtextextended('parley.ensure_partition', 0))")
      let error = await #expect(throws: PostgresError.self) { try await server.runner.runOnce() }
      #expect(error?.isLockTimeout == true)
      #expect(try months(database) == [])
      try session.sql("SELECT pg_advisory_unlock_all()")
      try await server.runner.runOnce()
      #expect(try months(database).count == 3)
    }
  }
}
