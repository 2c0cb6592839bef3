import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// Reads that take long go on apart from those that do not.
@Suite(.timeLimit(.minutes(5))) struct ScanTests {
  @Test func readsThatTakeTooLongAreAnsweredAllTheSame() async throws {
    try await TestDatabase.with { database in
      var configuration = PostgresStore.Configuration(url: database.url, statementTimeout: .seconds(600))
      // Every read is one of those.
      configuration.keyedReadMax = .zero
      try await database.withStore(configuration) { store in
        let interactions = (0..<30).map { _ in Interaction.sample() }
        _ = try await store.record(interactions, for: .a)
        let calls = Calls(20) { _ throws(RPCError) in
          let page = try await store.page(ListInteractions(pageSize: 50).checked(tenant: .a, now: .now), of: .a)
          let stats = try await store.stats(GetStats().checked(tenant: .a, now: .now), of: .a)
          return (page.interactions.count, stats.totals.totalInteractions)
        }
        for answer in await calls.all() { #expect(try answer.get() == (30, 30)) }
      }
    }
  }

  @Test func getsAndListsGoOnWhileStatisticsTakeLong() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let interaction = Interaction.sample()
      _ = try await store.record(interaction)
      // A merge under way and the locks below would wait for each other.
      try await eventually("all is merged") { try database.isMerged() }
      let session = try database.session()
      // Statistics read these, gets and lists of a range within two months do not.
      var today = InteractionFilter()
      (today.startTime, today.endTime) = (.now - .millisecondsPerDay, .now + .millisecondsPerHour)
      try session.sql("BEGIN; LOCK TABLE parley.rollups, parley.deltas IN ACCESS EXCLUSIVE MODE")
      let stats = Calls(20) { _ throws(RPCError) in
        try await store.stats(GetStats().checked(tenant: .a, now: .now), of: .a).totals.totalInteractions
      }
      try await eventually("all but one wait for their turn to take long") { store.readers.waitingCount(.scan) == 19 }
      for _ in 0..<20 {
        #expect(try await store.interaction(interaction.id, of: .a)?.id == interaction.id)
        #expect(try await store.pages(today).flatMap { $0 }.count == 2)
      }
      #expect(stats.answers.isEmpty)
      try session.unlock()
      for answer in await stats.all() { #expect(try answer.get() == 2) }
    }
  }

  @Test func aReadThatIsStoppedForItsTimeLeavesItsConnectionInOrder() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let connection = database.owner()
      let sleep = Statement("sleep", "SELECT 1 FROM pg_sleep(600)")
      let backend = Statement("backend", "SELECT pg_backend_pid()")
      let pids = try await connection.run { (connection) throws(PostgresError) in
        let before = try connection.run(Command(backend)).first { _ in true }!.int32(0)
        let slept = try connection.within(.milliseconds(50)) { (connection) throws(PostgresError) in
          try connection.inTransaction([Command(.begin)]) { (connection) throws(PostgresError) in
            try connection.run(Command(sleep)).count
          }
        }
        let quick = try connection.within(.seconds(600)) { (connection) throws(PostgresError) in
          try connection.run(Command(backend)).first { _ in true }!.int32(0)
        }
        return (before, slept, quick)
      }.get()
      #expect(pids.1 == nil)
      #expect(pids.0 == pids.2)
    }
  }
}
