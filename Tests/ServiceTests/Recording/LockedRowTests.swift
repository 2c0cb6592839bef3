import Core
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

/// What others have locked in PostgreSQL costs those whose it is.
@Suite(.timeLimit(.minutes(5))) struct LockedRowTests {
  private static let old = Timestamp("2001-09-09T01:46:40.000Z")
  private static let unmade = Timestamp("2021-06-15T12:00:00.000Z")

  enum Lock: String, CaseIterable {
    case tenant = "SELECT FROM parley.tenants WHERE name = 'tenant-a' FOR UPDATE"
    /// Whoever inserts the same key waits for the end of that.
    case key = "DELETE FROM parley.interactions WHERE conversation_id = 'locked'"
    case month = "LOCK TABLE parley.interactions_early IN ACCESS EXCLUSIVE MODE"
    /// As ANALYZE takes it: no partition can be made.
    case partitions = "LOCK TABLE parley.interactions IN SHARE UPDATE EXCLUSIVE MODE"

    /// One that waits for it.
    func interaction(_ locked: Interaction) -> Interaction {
      switch self {
      case .tenant: .sample()
      case .key: locked
      case .month: .sample(at: old)
      case .partitions: .sample(at: unmade)
      }
    }
  }

  private func isLocked(_ error: RPCError) -> Bool {
    error.code == .unavailable && error.reason == .databaseUnavailable && error.retryAfter != nil
  }

  @Test(.notDistributed(.partitionsOfRows), arguments: Lock.allCases) func keepsNoOtherTenantWaiting(_ lock: Lock)
    async throws
  {
    let locked = Interaction.sample { $0.conversationID = "locked" }
    try await TestDatabase.with { database in
      var configuration = database.patient()
      configuration.lockMax = .milliseconds(200)
      try await database.withStore(configuration) { store in
        try await database.warmUp(store)
        _ = try await store.record(locked, for: .a).get()
        _ = try await store.record(.sample(), for: .b).get()
        let session = try database.session()
        try session.sql("BEGIN; \(lock.rawValue)")
        let isOver = Mutex(false)
        let calls = Calls(3) { _ throws(RPCError) in
          var errors: [RPCError] = []
          while !isOver.withLock(\.self) {
            do throws(RPCError) { _ = try await store.record(lock.interaction(locked), for: .a).get() } catch {
              if errors.count < 1000 { errors.append(error) }
            }
          }
          return errors
        }
        try await eventually("they wait") { try session.waitsForLock(.owner) }
        let begun = ContinuousClock.now
        for _ in 0..<50 { _ = try await store.record(.sample(), for: .b).get() }
        #expect(ContinuousClock.now - begun < .seconds(60))
        isOver.withLock { $0 = true }
        for errors in await calls.all() {
          let errors = try errors.get()
          #expect(!errors.isEmpty && errors.allSatisfy(isLocked))
        }
        try session.unlock()
        let again = lock.interaction(locked)
        try await eventually("a retry goes in") { (try? await store.record(again, for: .a).get()) != nil }
        #expect(try await store.interaction(again.id, of: .a)?.id == again.id)
      }
    }
  }

  @Test(.notDistributed(.partitionsOfRows), arguments: [3, 200]) func theRestOfItsCommitGoesIn(count: Int) async throws
  {
    try await TestDatabase.with { database in
      try await database.withStore { store in
        try await database.warmUp(store)
        _ = try await store.record(.sample(), for: .b).get()
      }
      let (owner, numbers, lockedRows) = (database.owner(), TenantNumbers(), LockedRows())
      let writer = BatchWriter(
        owner, partitions: PartitionManager(owner), numbers: numbers, lockedRows: lockedRows,
        lockMax: .milliseconds(100), logger: .silent)
      let tenants = [try database.numbered(.a), try database.numbered(.b)]
      let batch = (0..<count).flatMap { _ in tenants.map { RecordRow(.sample(), tenant: $0) } }
      // Of one key, then of a tenant.
      let first = await writer.write([batch[0]])
      #expect(first.allSatisfy(isNew))
      let session = try database.session()
      try session.sql("BEGIN; DELETE FROM parley.interactions WHERE id = '\(batch[0].id)'")
      var outcomes = await writer.write(batch)
      #expect(isLocked(outcomes[0]))
      #expect(outcomes.dropFirst().allSatisfy(isNew))
      #expect(lockedRows.count == 1)
      try session.sql("COMMIT; BEGIN; SELECT FROM parley.tenants WHERE name = '\(Tenant.a)' FOR UPDATE")
      let next = (0..<count).flatMap { _ in tenants.map { RecordRow(.sample(), tenant: $0) } }
      outcomes = await writer.write(next)
      for (row, outcome) in zip(next, outcomes) {
        #expect(row.tenantName == .a ? isLocked(outcome) : isNew(outcome))
      }
      try session.unlock()
      try await eventually("a retry goes in") { await writer.write([batch[0]] + next).allSatisfy(isTold) }
      #expect(try database.rowCount() == 2 + 4 * count)
      // Set for the transaction alone.
      let setting = await owner.run { (session) throws(PostgresError) in try session.script("SHOW lock_timeout") }
      #expect(try setting.get() == [["0"]])
    }
  }

  /// A key that is taken is looked for in its own month.
  @Test(.notDistributed(.partitionsOfRows)) func monthIsNoMatterForRepeatsOfAnother() async throws {
    let interaction = Interaction.sample()
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      _ = try await store.record(interaction).get()
      let session = try database.session()
      try session.sql("BEGIN; LOCK TABLE parley.interactions_early IN ACCESS EXCLUSIVE MODE")
      for _ in 0..<2 { #expect(try await store.record(interaction) == .already(interaction)) }
      try session.unlock()
    }
  }

  private func isNew(_ outcome: BatchWriter.Outcome) -> Bool {
    if case .told(.success(let recorded)) = outcome { !recorded.alreadyRecorded } else { false }
  }

  private func isTold(_ outcome: BatchWriter.Outcome) -> Bool {
    if case .told(.success) = outcome { true } else { false }
  }

  private func isLocked(_ outcome: BatchWriter.Outcome) -> Bool {
    if case .failed(let failure) = outcome { failure.isOfALock && isLocked(failure.error) } else { false }
  }
}
