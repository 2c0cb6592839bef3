import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Service

@Suite struct ReadTimeTests {
  @Test func isThatOfAllOtherTenantsSinceItWasAskedBefore() {
    var time = ReadTime()
    time.add(.seconds(1), of: .b)
    #expect(time.take(besides: .a) == .zero, "nobody has asked for that tenant before")
    for tenant in [Tenant.a, .b, .b] { time.add(.seconds(2), of: tenant) }
    #expect(time.take(besides: .a) == .seconds(4))
    #expect(time.take(besides: .a) == .zero)
    time.add(.seconds(1), of: .b)
    #expect(time.take(besides: .b) == .zero)
  }

  @Test func ofAStoreIsThatOfItsReads() async throws {
    try await TestDatabase.withStore { store, _ in
      let interaction = Interaction.sample()
      _ = try await store.record(interaction)
      _ = store.readers.readTime(besides: .b)
      _ = try await store.interaction(interaction.id, of: .a)
      #expect(store.readers.readTime(besides: .b) > .zero)
      _ = try await store.pages()
      #expect(store.readers.readTime(besides: .b) > .zero)
      _ = store.readers.readTime(besides: .a)
      _ = try await store.interaction(interaction.id, of: .a)
      #expect(store.readers.readTime(besides: .a) == .zero)
    }
  }
}

@Suite struct CompletionBundleTests {
  /// Keeps what it is to do.
  private final class Executor: CompletionExecutor {
    let work = Mutex<[@Sendable () -> Void]>([])

    var thread: ObjectIdentifier { ObjectIdentifier(self) }
    var isCurrent: Bool { false }

    func execute(_ work: @escaping @Sendable () -> Void) { self.work.withLock { $0.append(work) } }
  }

  @Test func callsUponEachExecutorOnce() {
    let executors = [Executor(), Executor()]
    let taken = Mutex<[Int]>([])
    var bundle = CompletionBundle<Int>(turnCount: 8)
    for value in 0..<10 {
      let completion = Completion<Int>(on: executors[value % 2]) { outcome in
        if let value = try? outcome.get() { taken.withLock { $0.append(value) } }
      }
      bundle.add(.success(value), to: completion)
    }
    #expect(executors.allSatisfy { $0.work.withLock(\.isEmpty) }, "nothing is sent before its time")
    bundle.send()
    for executor in executors {
      let work = executor.work.withLock(\.self)
      #expect(work.count == 1)
      for work in work { work() }
    }
    #expect(taken.withLock(\.self) == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9])
  }

  @Test func ofNothingCallsUponNobody() {
    CompletionBundle<Int>(turnCount: 8).send()
  }
}

@Suite struct ReadinessTests {
  private static func isReady(after states: DatabaseState...) -> Bool {
    var readiness = Readiness()
    for state in states { readiness.look(state) }
    return readiness.isReady
  }

  private static let silent = DatabaseState.unfit("silent", isCertain: false)
  private static let standby = DatabaseState.unfit("a standby", isCertain: true)

  @Test func oneLookWithoutAnAnswerChangesNothing() {
    #expect(Self.isReady())
    #expect(Self.isReady(after: .fit, Self.silent))
    #expect(Self.isReady(after: Self.silent, .fit, Self.silent))
    #expect(!Self.isReady(after: .fit, Self.silent, Self.silent))
  }

  @Test func whatTheDatabaseSaysItselfCountsAtOnce() {
    #expect(!Self.isReady(after: .fit, Self.standby))
    #expect(!Self.isReady(after: Self.standby, Self.silent), "a silence is no reason to be ready")
    #expect(Self.isReady(after: Self.standby, .fit))
    #expect(Self.isReady(after: Self.silent, Self.silent, .fit))
  }
}

@Suite struct TakenKeysTests {
  private static func rows(_ count: Int, of tenant: Int32) -> [RecordRow] {
    (0..<count).map { _ in RecordRow(.sample(), tenant: NumberedTenant(key: TenantKey(rawValue: tenant), name: .a)) }
  }

  private static func found(_ row: RecordRow) -> WrittenRow { .found(ContentHash(row.encoded)) }

  @Test func asksForAKeyThatWasTaken() {
    let keys = TakenKeys()
    let rows = Self.rows(20, of: 1)
    #expect(keys.suspects(among: rows).isEmpty)
    keys.learn(rows, rows.enumerated().map { $0.offset == 3 ? Self.found($0.element) : .inserted })
    #expect(keys.suspects(among: rows).map(\.key) == [rows[3].key])
  }

  @Test func asksForAllOfATenantThatSendsAgainWhatItSent() {
    let keys = TakenKeys()
    let (again, others) = (Self.rows(20, of: 1), Self.rows(20, of: 2))
    keys.learn(again + others, again.map(Self.found) + others.map { _ in .inserted })
    let (more, different) = (Self.rows(20, of: 1), Self.rows(20, of: 2))
    #expect(keys.suspects(among: more + different).map(\.key) == more.map(\.key))
    // Until it sends what is new.
    keys.learn(more, more.map { _ in .inserted })
    #expect(keys.suspects(among: Self.rows(20, of: 1)).isEmpty)
  }

  @Test func oneRowSaysNothingOfItsTenant() {
    let keys = TakenKeys()
    let rows = Self.rows(1, of: 1)
    keys.learn(rows, rows.map(Self.found))
    #expect(keys.suspects(among: Self.rows(20, of: 1)).isEmpty)
  }

  @Test func forgetsTheOldestKeys() {
    let keys = TakenKeys(keysMax: 10)
    let rows = Self.rows(7, of: 1)
    for row in rows { keys.learn([row], [Self.found(row)]) }
    #expect(keys.suspects(among: rows).count == 7)
    for row in Self.rows(20, of: 2) { keys.learn([row], [Self.found(row)]) }
    #expect(keys.suspects(among: rows).isEmpty)
  }
}
