import Core
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct RefusedRowTests {
  /// The ways a database can refuse the conversation "refused".
  enum Refusal: String, CaseIterable {
    case exception = "RAISE EXCEPTION 'words of PostgreSQL'"
    case exceptionOfAnyCode = "RAISE EXCEPTION 'words of PostgreSQL' USING ERRCODE = 'ZX001'"
    case arithmetic = "RAISE division_by_zero USING MESSAGE = 'words of PostgreSQL'"

    func install(in database: TestDatabase) throws {
      try database.sql(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF NEW.conversation_id = 'refused' THEN \(rawValue); END IF;
          RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON parley.interactions FOR EACH ROW EXECUTE FUNCTION refuse();
        """)
    }
  }

  private func expectRefused(_ outcome: Outcome) throws {
    guard case .failure(let error) = outcome else {
      Issue.record("\(outcome) instead of a refusal")
      return
    }
    #expect(error.code == .invalidArgument)
    #expect(error.reason == .interactionRefused)
    #expect(!error.message.contains("words of PostgreSQL"))
    let cause = try #require(error.cause)
    #expect(cause.contains("words of PostgreSQL"))
  }

  /// PostgreSQL's details of it are what a customer said.
  @Test func whyItIsRefusedIsToldWithoutItsValues() async throws {
    try await TestDatabase.withStore { store, database in
      // Has the month's partition.
      _ = try await store.record(.sample())
      try database.sql("ALTER TABLE parley.interactions ADD CONSTRAINT own CHECK (conversation_id <> 'refused')")
      let refused = Interaction.sample {
        $0.conversationID = "refused"
        $0.customerMessage = "private words"
      }
      for batch in [[refused], [refused, .sample()]] {
        let cause = try #require(try await store.record(batch, for: .a)[0].error?.cause)
        #expect(cause.contains("own") && !cause.contains("private words"))
      }
    }
  }

  @Test(.notDistributed(.ownTriggers), arguments: Refusal.allCases) func failsAloneInItsBatch(_ refusal: Refusal)
    async throws
  {
    let batch = (0..<30).map { index in
      Interaction.sample { $0.conversationID = index % 7 == 3 ? "refused" : "taken" }
    }
    try await TestDatabase.withStore { store, database in
      try refusal.install(in: database)
      let outcomes = try await store.record(batch, for: .a)
      for (interaction, outcome) in zip(batch, outcomes) {
        if interaction.content.conversationID == "refused" {
          try expectRefused(outcome)
        } else {
          #expect(outcome == .new(interaction))
        }
      }
      #expect(outcomes.count == batch.count)
      #expect(try database.rowCount() == 26)

      // The writer is in order afterwards, for good and for bad.
      let next = Interaction.sample()
      #expect(try await store.record(next) == .new(next))
      try expectRefused(try await store.record(.sample { $0.conversationID = "refused" }))
    }
  }

  @Test(.notDistributed(.ownTriggers)) func failsItsOwnCallAmongThoseCommittedTogether() async throws {
    let interactions = (0..<40).map { index in
      Interaction.sample { $0.conversationID = index % 10 == 5 ? "refused" : "taken" }
    }
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      try Refusal.exception.install(in: database)
      let session = try database.session()
      let first = try await session.holdUpWriters(of: store)
      let calls = Calls(interactions.count) { call throws(RPCError) in try await store.record(interactions[call]) }
      try await eventually("they wait behind the first") { store.recorder.waitingCount == interactions.count }
      try session.unlock()
      for record in first { _ = try await record.all()[0].get().get() }
      for (interaction, answer) in zip(interactions, await calls.all()) {
        if interaction.content.conversationID == "refused" {
          try expectRefused(try answer.get())
        } else {
          #expect(try answer.get() == .new(interaction))
        }
      }
    }
  }

  /// A failure that is nobody's but ours is not told as the row's; one that a second try mends is not told at all.
  @Test(
    .notDistributed(.ownTriggers), arguments: [("0A000", true), ("26000", true), ("42883", false), ("P0004", false)])
  func isNotARowThatMetAFaultOfOurs(sqlState: String, isMended: Bool) async throws {
    let interaction = Interaction.sample()
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      try database.sql(
        """
        CREATE SEQUENCE tries;
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF nextval('tries') = 1 THEN RAISE EXCEPTION 'words of PostgreSQL' USING ERRCODE = '\(sqlState)'; END IF;
          RETURN NEW;
        END $$;
        CREATE TRIGGER fail BEFORE INSERT ON parley.interactions FOR EACH ROW EXECUTE FUNCTION fail();
        """)
      if isMended {
        #expect(try await store.record(interaction) == .new(interaction))
      } else {
        let error = await #expect(throws: RPCError.self) { try await store.record(interaction).get() }
        #expect(error?.code == .internal)
        #expect(try await store.record(interaction) == .new(interaction))
      }
    }
  }

  /// A missing partition is told by where PostgreSQL's error comes from: a trigger may use the same words.
  @Test(.notDistributed(.ownTriggers)) func isRefusedWhateverItsRefusalSays() async throws {
    let refused = Interaction.sample { $0.conversationID = "refused" }
    try await TestDatabase.withStore { store, database in
      try database.sql(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          RAISE EXCEPTION 'words of PostgreSQL: no partition of relation "interactions" found for row'
            USING ERRCODE = '23514';
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON parley.interactions FOR EACH ROW EXECUTE FUNCTION refuse();
        """)
      try expectRefused(try await store.record(refused))
    }
  }

  @Test(.notDistributed(.ownTriggers)) func leavesItsIDToOthers() async throws {
    let refused = Interaction.sample { $0.conversationID = "refused" }
    let taken = refused.with { $0.conversationID = "taken" }
    try await TestDatabase.withStore { store, database in
      try Refusal.exception.install(in: database)
      let outcomes = try await store.record([refused, taken, taken], for: .a)
      try expectRefused(outcomes[0])
      #expect(outcomes[1...] == [.new(taken), .already(taken)])
    }
  }

  @Test(.notDistributed(.ownTriggers)) func isToldToAllWhoRepeatIt() async throws {
    let refused = Interaction.sample { $0.conversationID = "refused" }
    let taken = Interaction.sample()
    try await TestDatabase.withStore { store, database in
      try Refusal.exception.install(in: database)
      let outcomes = try await store.record([refused, taken, refused], for: .a)
      try expectRefused(outcomes[0])
      #expect(outcomes[1] == .new(taken))
      try expectRefused(outcomes[2])
    }
  }
}
