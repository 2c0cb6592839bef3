import Core
import Postgres
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct DatabaseAwayTests {
  /// What a caller is told while there is no database, and nothing of what PostgreSQL said.
  private func expectUnavailable(_ error: RPCError?, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(error?.code == .unavailable, sourceLocation: sourceLocation)
    #expect(error?.reason == .databaseUnavailable, sourceLocation: sourceLocation)
    #expect(error?.retryAfter != nil, sourceLocation: sourceLocation)
    #expect(error?.message == RPCError.databaseUnavailable(cause: "").message, sourceLocation: sourceLocation)
    #expect(error?.cause?.isEmpty == false, sourceLocation: sourceLocation)
  }

  @Test func readsOnAfterItsConnectionsWereEnded() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let interaction = Interaction.sample()
      _ = try await store.record(interaction)
      let session = try database.session()
      func readMany() async throws {
        let answers = await Calls(30) { _ throws(RPCError) in try await store.interaction(interaction.id, of: .a) }
          .all()
        for answer in answers { #expect(try answer.get()?.id == interaction.id) }
      }
      try await readMany()
      for _ in 0..<3 {
        try session.terminateParley()
        try await readMany()
        try session.terminateParley()
        #expect(try await store.pages().flatMap { $0 }.count == 2)
        #expect(try await store.stats().totals.totalInteractions == 2)
        // This one goes by the connection that knows the tenants.
        try session.terminateParley()
        #expect(try await store.interaction(interaction.id, of: .b) == nil)
      }
    }
  }

  @Test func recordsOnAfterItsConnectionsWereEnded() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let session = try database.session()
      for month in 1...3 {
        try session.terminateParley()
        // A new partition, so that every connection for writing is needed.
        let interaction = Interaction.sample(at: Timestamp("2021-0\(month)-01T00:00:00.000Z"))
        #expect(try await store.record(interaction) == .new(interaction))
      }
      #expect(try database.rowCount() == 4)
    }
  }

  @Test func commitsOnceWhatWasUnderWayWhenItsConnectionEnded() async throws {
    let batch = (0..<20).map { _ in Interaction.sample() }
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let session = try database.session()
      try session.lockInteractions(against: .writers)
      let call = Calls(1) { _ throws(RPCError) in try await store.record(batch, for: .a) }
      try await eventually("the writer waits") { try session.waitsForLock(.owner) }
      let before = try session.backends(.owner, "wait_event_type = 'Lock'")
      try session.terminateParley()
      try await eventually("the writer waits again") {
        let now = try session.backends(.owner, "wait_event_type = 'Lock'")
        return !now.isEmpty && now != before
      }
      try session.unlock()
      #expect(try await call.all()[0].get() == batch.map(Outcome.new))
      #expect(try database.rowCount() == 1 + batch.count)
    }
  }

  /// Whatever is answered while connections end again and again: recorded means there, and trying
  /// again with the same id brings the rest in without a second copy.
  @Test func answersTruthfullyWhileItsConnectionsEnd() async throws {
    let interactions = (0..<1500).map { _ in Interaction.sample() }
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let session = try database.session()
      let calls = Calls(interactions.count) { call throws(RPCError) in try await store.record(interactions[call]) }
      for _ in 0..<8 {
        let answered = calls.answers.count
        try session.terminateParley()
        // Once more when something was done in between.
        try await eventually("recording goes on") {
          calls.answers.count > answered || calls.unanswered.isEmpty
        }
      }
      let answers = await calls.all()
      let kept = Set(try await store.pages().flatMap { $0 }.map(\.id))
      for (interaction, answer) in zip(interactions, answers) {
        switch answer {
        case .success(let outcome):
          let recorded = try outcome.get()
          #expect(recorded.id == interaction.id)
          #expect(kept.contains(interaction.id))
        case .failure(let error):
          expectUnavailable(error)
          _ = try await store.record(interaction).get()
        }
      }
      #expect(try database.rowCount() == 1 + interactions.count)
      #expect(try await store.pages().flatMap { $0 }.count == 1 + interactions.count)
    }
  }

  @Test func saysSoWhileItMayNotConnectAndRecovers() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let (kept, refused) = (Interaction.sample(), Interaction.sample())
      _ = try await store.record(kept)
      _ = try await store.interaction(kept.id, of: .a)
      let server = try DatabaseSession.server()
      let session = try database.session()
      let name = try session.sql("SELECT current_database()")[0][0]
      try server.sql("ALTER DATABASE \(name) ALLOW_CONNECTIONS false")
      try session.terminateParley()

      #expect(await store.databaseState() != .fit)
      expectUnavailable(await #expect(throws: RPCError.self) { try await store.interaction(kept.id, of: .a) })
      expectUnavailable(await #expect(throws: RPCError.self) { try await store.pages() })
      expectUnavailable(await #expect(throws: RPCError.self) { try await store.stats() })
      expectUnavailable(await #expect(throws: RPCError.self) { try await store.record(refused).get() })
      // And for a tenant of which nothing is known.
      expectUnavailable(await #expect(throws: RPCError.self) { try await store.record(refused, for: .b).get() })

      try server.sql("ALTER DATABASE \(name) ALLOW_CONNECTIONS true")
      try await eventually("reads are answered again") {
        (try? await store.interaction(kept.id, of: .a)) != nil
      }
      try await eventually("recording goes on") { (try? await store.record(refused).get()) != nil }
      try await eventually("it says that it is there") { await store.databaseState() == .fit }
      #expect(try database.rowCount("id = '\(refused.id)'") == 1)
    }
  }

  @Test func isUnavailableFromTheStartWhereNothingListens() async throws {
    try await TestDatabase.with { database in
      try await database.withStore(.init(url: "host=/nowhere/at/all")) { store in
        expectUnavailable(await #expect(throws: RPCError.self) { try await store.pages() })
        expectUnavailable(await #expect(throws: RPCError.self) { try await store.record(.sample()) })
      }
    }
  }

  /// The connection ends within COMMIT, which then has not happened.
  @Test(.notDistributed(.ownTriggers)) func recordsOnceWhenItsConnectionEndsInCommit() async throws {
    let batch = (0..<10).map { _ in Interaction.sample() }
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      try database.sql(
        """
        CREATE SEQUENCE once;
        CREATE FUNCTION die_once() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF nextval('once') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
          RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER die_once AFTER INSERT ON parley.interactions
          DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die_once();
        """)
      #expect(try await store.record(batch, for: .a) == batch.map(Outcome.new))
      #expect(try database.rowCount() == 1 + batch.count)
      // It did end: the sequence went on from the second try, row by row.
      #expect(try database.sql("SELECT last_value FROM once") == [["\(1 + batch.count)"]])
    }
  }

  /// The commit has happened, and its response is lost with the connection.
  @Test func recordsOnceWhenTheAnswerToCommitIsLost() async throws {
    let before = Interaction.sample()
    let batch = (0..<10).map { _ in Interaction.sample() }
    let conflicting = before.with { $0.contextSize += 1 }
    try await TestDatabase.withStore { direct, database in
      _ = try await direct.record(before)
      let cutter = try CommitCutter(database.session())
      defer { cutter.close() }
      try await database.withStore(.init(url: "\(database.url) \(cutter.url)")) { store in
        let outcomes = try await store.record(batch + [batch[0], conflicting], for: .a)
        #expect(cutter.hasCut)
        #expect(outcomes[..<10].map { try? $0.get().id } == batch.map(\.id))
        #expect(outcomes[10] == .already(batch[0]))
        #expect(outcomes[11].reason == .interactionConflict)
        #expect(try database.rowCount() == 1 + batch.count)

        let next = Interaction.sample()
        #expect(try await store.record(next) == .new(next))
      }
    }
  }
}
