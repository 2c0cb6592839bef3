import Core
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

/// What others have locked in PostgreSQL costs those who read it.
@Suite(.timeLimit(.minutes(5))) struct LockedReadTests {
  private static let month = "LOCK TABLE parley.interactions_early IN ACCESS EXCLUSIVE MODE"
  private static let old = Timestamp("2001-09-09T01:46:40.000Z")

  private func isLocked(_ error: RPCError) -> Bool {
    error.code == .unavailable && error.reason == .databaseUnavailable && error.retryAfter != nil
      && error.message.contains("locked by another session")
  }

  private static func from(_ start: Timestamp, to end: Timestamp) -> InteractionFilter {
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (start, end)
    return filter
  }

  /// The interactions of the month that is locked.
  private static let oldOnes = from(old - 1, to: old + 1)

  private func withStore(
    readLockMax: Duration, _ body: (PostgresStore, DatabaseSession) async throws -> Void
  ) async throws {
    try await TestDatabase.with { database in
      var configuration = database.patient()
      configuration.readLockMax = readLockMax
      try await database.withStore(configuration) { store in
        try await database.warmUp(store)
        try await body(store, try database.session())
      }
    }
  }

  @Test(.notDistributed(.partitionsOfRows)) func keepsNoOtherTenantWaiting() async throws {
    let (old, new) = (Interaction.sample(at: Self.old), Interaction.sample())
    try await withStore(readLockMax: .milliseconds(50)) { store, session in
      _ = try await store.record(old, for: .a).get()
      _ = try await store.record(new, for: .b).get()
      try session.sql("BEGIN; \(Self.month)")
      let isOver = Mutex(false)
      let calls = Calls(12) { call throws(RPCError) in
        var errors: [RPCError] = []
        while !isOver.withLock(\.self) {
          do throws(RPCError) {
            switch call % 3 {
            case 0: _ = try await store.interaction(old.id, of: .a)
            case 1:
              let query = try ListInteractions(filter: Self.oldOnes).checked(tenant: .a, now: .now)
              _ = try await store.page(query, of: .a)
            default:
              let query = try GetStats(filter: Self.oldOnes).checked(tenant: .a, now: .now)
              _ = try await store.stats(query, of: .a)
            }
          } catch {
            errors.append(error)
          }
        }
        return errors
      }
      try await eventually("they wait") { try session.waitsForLock(.reader) }
      for _ in 0..<20 {
        #expect(try await store.interaction(new.id, of: .b)?.id == new.id)
        #expect(try await store.stats(of: .b).totals.totalInteractions == 1)
        let lastDay = Self.from(.now - .millisecondsPerDay, to: .now + .millisecondsPerHour)
        #expect(try await store.pages(lastDay, of: .b).flatMap { $0 }.count == 1)
      }
      isOver.withLock { $0 = true }
      for (call, errors) in await calls.all().enumerated() {
        let errors = try errors.get()
        #expect(!errors.isEmpty && errors.allSatisfy(isLocked), "call \(call): \(errors.prefix(1))")
        #expect(errors.contains { $0.cause?.contains("holds a lock on parley.interactions_early") == true })
      }
      try session.unlock()
      #expect(try await store.interaction(old.id, of: .a)?.id == old.id)
      #expect(try await store.pages(Self.oldOnes).flatMap { $0 }.count == 1)
    }
  }

  enum Read: CaseIterable { case get, list, statistics }

  /// Between two tries a read holds nothing.
  @Test(.notDistributed(.partitionsOfRows), arguments: Read.allCases) func outlastsAShortLock(_ read: Read) async throws
  {
    let old = Interaction.sample(at: Self.old)
    try await withStore(readLockMax: .seconds(2)) { store, session in
      _ = try await store.record(old, for: .a).get()
      try session.sql("BEGIN; \(Self.month)")
      let call = Calls(1) { _ throws(RPCError) in
        switch read {
        case .get: try await store.interaction(old.id, of: .a) == nil ? 0 : 1
        case .list:
          try await store.page(ListInteractions(filter: Self.oldOnes).checked(tenant: .a, now: .now), of: .a)
            .interactions.count
        case .statistics:
          Int(
            try await store.stats(GetStats(filter: Self.oldOnes).checked(tenant: .a, now: .now), of: .a)
              .totals.totalInteractions)
        }
      }
      try await eventually("it waits") { try session.waitsForLock(.reader) }
      try await eventually("it has given its connection up") { try !session.waitsForLock(.reader) }
      #expect(call.answers.isEmpty)
      try session.unlock()
      #expect(try await call.all()[0].get() == 1)
    }
  }

  /// Gets of one tenant that come together share a statement.
  @Test(.notDistributed(.partitionsOfRows)) func getsOfOtherMonthsAreFoundThoughTheySharedAStatement() async throws {
    let (old, new) = (Interaction.sample(at: Self.old), Interaction.sample())
    try await withStore(readLockMax: .milliseconds(50)) { store, session in
      for interaction in [old, new] { _ = try await store.record(interaction, for: .a).get() }
      try session.sql("BEGIN; \(Self.month)")
      let calls = Calls(64) { call throws(RPCError) in
        try await store.interaction(call % 2 == 0 ? old.id : new.id, of: .a)?.id
      }
      for (call, answer) in await calls.all().enumerated() {
        switch answer {
        case .success(let id): #expect(call % 2 == 1 && id == new.id)
        case .failure(let error): #expect(call % 2 == 0 && isLocked(error), "call \(call)")
        }
      }
      try session.unlock()
    }
  }
}
