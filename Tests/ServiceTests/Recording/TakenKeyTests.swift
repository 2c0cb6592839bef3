import Core
import TestSupport
import Testing

@testable import Service

/// A taken key costs its own call something, and the others of its batch next to nothing.
@Suite(.timeLimit(.minutes(5))) struct TakenKeyTests {
  private static let count = 200

  /// What the database did: rows that it was given to insert, transactions that wrote.
  private struct Work {
    let database: TestDatabase

    init(_ database: TestDatabase) throws {
      self.database = database
      try database.sql(
        """
        CREATE SEQUENCE tries;
        CREATE SEQUENCE transactions;
        CREATE FUNCTION count_try() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM nextval('tries');
          IF current_setting('test.is_counted', true) IS DISTINCT FROM 'yes' THEN
            PERFORM nextval('transactions'), set_config('test.is_counted', 'yes', true);
          END IF;
          RETURN NEW;
        END $$;
        CREATE TRIGGER count_try BEFORE INSERT ON parley.interactions FOR EACH ROW EXECUTE FUNCTION count_try();
        """)
    }

    func tries(_ body: () async throws -> Void) async throws -> Int {
      let before = Int(try database.sql("SELECT nextval('tries')")[0][0])!
      try await body()
      return Int(try database.sql("SELECT nextval('tries')")[0][0])! - before - 1
    }

    /// Those that insert.
    func transactions(_ body: () async throws -> Void) async throws -> Int {
      let before = Int(try database.sql("SELECT nextval('transactions')")[0][0])!
      try await body()
      return Int(try database.sql("SELECT nextval('transactions')")[0][0])! - before - 1
    }
  }

  private static func batch(with taken: [Interaction] = []) -> [Interaction] {
    taken + (taken.count..<count).map { _ in Interaction.sample() }
  }

  @Test(.notDistributed(.ownTriggers)) func isLookedUpAndTheRestIsCopiedAgain() async throws {
    try await TestDatabase.withStore { store, database in
      let taken = Interaction.sample()
      _ = try await store.record(taken)
      let work = try Work(database)
      let batch = Self.batch(with: [taken.with { $0.contextSize += 1 }])
      let tries = try await work.tries {
        let outcomes = try await store.record(batch, for: .a)
        #expect(outcomes[0].reason == .interactionConflict)
        #expect(outcomes.dropFirst().elementsEqual(batch.dropFirst().map(Outcome.new)))
      }
      #expect(tries < 2 * Self.count, "no row is inserted by itself")
    }
  }

  @Test(.notDistributed(.ownTriggers)) func isKnownWhenItComesAgain() async throws {
    try await TestDatabase.withStore { store, database in
      let taken = Interaction.sample()
      _ = try await store.record(taken)
      _ = try await store.record(Self.batch(with: [taken]), for: .a)
      let work = try Work(database)
      for _ in 0..<5 {
        let batch = Self.batch(with: [taken])
        let tries = try await work.tries {
          let outcomes = try await store.record(batch, for: .a)
          #expect(outcomes == [.already(taken)] + batch.dropFirst().map(Outcome.new))
        }
        #expect(tries == Self.count - 1, "the batch is not thrown away again")
      }
    }
  }

  @Test(.notDistributed(.ownTriggers)) func aTenantThatSendsAgainWhatItSentIsLookedUpFirst() async throws {
    try await TestDatabase.withStore { store, database in
      let sent = (0..<3).map { _ in Self.batch() }
      for batch in sent { _ = try await store.record(batch, for: .b) }
      _ = try await store.record(sent[0], for: .b)
      let work = try Work(database)
      for batch in sent.dropFirst() {
        let tries = try await work.tries {
          let outcomes = try await store.record(batch, for: .b)
          #expect(outcomes == batch.map(Outcome.already))
        }
        #expect(tries == 0)
      }
    }
  }

  @Test func mayBeAConflictOfEveryKindInOneBatch() async throws {
    try await TestDatabase.withStore { store, database in
      let (same, other) = (Interaction.sample(), Interaction.sample())
      _ = try await store.record([same, other], for: .a)
      let new = Interaction.sample()
      let outcomes = try await store.record(
        [same, other.with { $0.contextSize += 1 }, new, new, new.with { $0.contextSize += 1 }, other] + Self.batch(),
        for: .a)
      #expect(outcomes[0] == .already(same))
      #expect(outcomes[1].reason == .interactionConflict)
      #expect(outcomes[2] == .new(new) && outcomes[3] == .already(new))
      #expect(outcomes[4].reason == .interactionConflict)
      #expect(outcomes[5] == .already(other))
      #expect(try database.rowCount() == 3 + Self.count)
    }
  }

  @Test func twoServersThatRecordTheSameAtOnceRecordItOnce() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.withStore { other in
        for _ in 0..<5 {
          let batch = Self.batch()
          let calls = Calls(8) { call throws(RPCError) in
            try await (call % 2 == 0 ? store : other).record(batch, for: .a)
          }
          let outcomes = try await calls.all().map { try $0.get() }
          for (place, interaction) in batch.enumerated() {
            let ids = outcomes.map { try? $0[place].get().id }
            #expect(ids.allSatisfy { $0 == interaction.id })
            #expect(outcomes.count { $0[place] == .new(interaction) } == 1)
          }
        }
        #expect(try database.rowCount() == 5 * Self.count)
      }
    }
  }

  // MARK: Rows that the database refuses

  private static let refusal = RefusedRowTests.Refusal.exception

  @Test(.notDistributed(.ownTriggers)) func aRefusedRowIsFoundByHalvingTheBatch() async throws {
    try await TestDatabase.withStore { store, database in
      try Self.refusal.install(in: database)
      var batch = (0..<1000).map { _ in Interaction.sample() }
      batch[371].content.conversationID = "refused"
      let work = try Work(database)
      let transactions = try await work.transactions {
        for (place, outcome) in try await store.record(batch, for: .a).enumerated() {
          #expect(place == 371 ? outcome.reason == .interactionRefused : outcome == .new(batch[place]))
        }
      }
      // Ten halvings, of two halves each.
      #expect((10...40).contains(transactions), "\(transactions)")
      #expect(try database.rowCount() == 999)
    }
  }

  @Test(.notDistributed(.ownTriggers)) func aRefusedRowThatIsRepeatedIsTriedOnce() async throws {
    try await TestDatabase.withStore { store, database in
      try Self.refusal.install(in: database)
      let refused = Interaction.sample { $0.conversationID = "refused" }
      let work = try Work(database)
      let transactions = try await work.transactions {
        let outcomes = try await store.record(Array(repeating: refused, count: 1000), for: .a)
        #expect(outcomes.count == 1000 && outcomes.allSatisfy { $0.reason == .interactionRefused })
      }
      #expect(transactions < 100)
    }
  }

  @Test(.notDistributed(.ownTriggers)) func everyContentOfARefusedIDIsTriedInTurn() async throws {
    try await TestDatabase.withStore { store, database in
      try Self.refusal.install(in: database)
      let refused = Interaction.sample { $0.conversationID = "refused" }
      let contents = (0..<300).map { place in refused.with { $0.contextSize = Int32(place) } }
      let taken = refused.with { $0.conversationID = "taken" }
      let outcomes = try await store.record(contents + [taken, taken], for: .a)
      #expect(outcomes.prefix(300).allSatisfy { $0.reason == .interactionRefused })
      #expect(outcomes.suffix(2) == [.new(taken), .already(taken)])
    }
  }

  /// Its key is free, and yet PostgreSQL says that a key is taken.
  @Test(.notDistributed(.refusedSQL)) func aRowThatAnotherUniqueIndexRefusesFailsAlone() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let partition = try database.sql(
        "SELECT 'parley.interactions_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')")[0][0]
      try database.sql("CREATE UNIQUE INDEX ON \(partition) (conversation_id) WHERE conversation_id LIKE 'only %'")
      var batch = Self.batch()
      for place in [3, 50, 120] { batch[place].content.conversationID = "only one" }
      let outcomes = try await store.record(batch, for: .a)
      #expect([3, 50, 120].count { outcomes[$0].reason == .interactionRefused } == 2)
      #expect(outcomes.count { (try? $0.get()) != nil } == Self.count - 2)
    }
  }
}
