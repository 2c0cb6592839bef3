import Core
import TestSupport
import Testing

@testable import Service

/// Many rows go in by COPY; what is true of a row is true whichever way it went in.
@Suite(.timeLimit(.minutes(5))) struct CopyTests {
  /// So many that they are copied.
  private static let count = 200

  @Test func everyFieldMakesTheRoundTrip() async throws {
    var random = SeededGenerator()
    let times = random.times(20)
    let given = (0..<Self.count).map { _ in random.interaction(at: random.pick(times)) }
    try await TestDatabase.withStore { store, _ in
      let begun = Timestamp.now
      #expect(try await store.record(given, for: .a) == given.map(Outcome.new), "seed \(random.seed)")
      for interaction in given {
        let found = try #require(try await store.interaction(interaction.id, of: .a), "seed \(random.seed)")
        #expect(found.content.isExactly(interaction.content), "seed \(random.seed)")
        #expect((begun...(.now)).contains(try #require(found.updatedAt)))
      }
    }
  }

  @Test func aTakenKeyAmongManyIsAnsweredAloneAndTheRestIsWritten() async throws {
    let given = (0..<Self.count).map { _ in Interaction.sample() }
    try await TestDatabase.withStore { store, database in
      _ = try await store.record([given[7], given[40].with { $0.contextSize += 1 }], for: .a)
      let outcomes = try await store.record(given, for: .a)
      for (index, outcome) in outcomes.enumerated() {
        switch index {
        case 7: #expect(outcome == .already(given[7]))
        case 40: #expect(outcome.reason == .interactionConflict)
        default: #expect(outcome == .new(given[index]))
        }
      }
      #expect(try database.rowCount() == Self.count)
    }
  }

  @Test func aCommitWhoseAnswerIsLostIsNotDoneTwice() async throws {
    let given = (0..<Self.count).map { _ in Interaction.sample() }
    try await TestDatabase.with { database in
      let session = try database.session()
      let cutter = try CommitCutter(session)
      defer { cutter.close() }
      try await database.withStore(.init(url: "\(database.url) \(cutter.url)")) { store in
        let outcomes = try await store.record(given, for: .a)
        #expect(cutter.hasCut)
        #expect(outcomes.allSatisfy { (try? $0.get()) != nil })
        #expect(try database.rowCount() == Self.count)
        #expect(try await store.record(given, for: .a) == given.map(Outcome.already))
      }
    }
  }

  @Test func aLostConnectionIsFollowedByANewOne() async throws {
    try await TestDatabase.withStore { store, database in
      for _ in 0..<3 {
        let given = (0..<Self.count).map { _ in Interaction.sample() }
        #expect(try await store.record(given, for: .a) == given.map(Outcome.new))
        try database.session().terminateParley()
      }
      #expect(try database.rowCount() == 3 * Self.count)
    }
  }

  /// A standby that takes over, or a database that is locked for a while: the next connection may write again.
  @Test func aSessionThatMayOnlyReadIsNotKept() async throws {
    let given = (0..<Self.count).map { _ in Interaction.sample() }
    try await TestDatabase.withStore { store, database in
      let name = try database.sql("SELECT current_database()")[0][0]
      try database.sql("ALTER DATABASE \(name) SET default_transaction_read_only = on")
      try database.session().terminateParley()
      // The copied ones last: what a refused COPY leaves is what the next record meets.
      for batch in [Array(given.prefix(1)), given] {
        let refusal = await #expect(throws: RPCError.self) {
          try await store.record(batch, for: .a).map { try $0.get() }
        }
        #expect(refusal?.code == .unavailable)
      }
      try DatabaseSession.server().sql("ALTER DATABASE \(name) RESET default_transaction_read_only")
      #expect(try await store.record(given, for: .a) == given.map(Outcome.new))
    }
  }
}
