import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Service

/// PostgreSQL's processes stand still, as where its disk or its host does. Nobody waits for them for ever.
@Suite(.serialized, .timeLimit(.minutes(5))) struct StandstillTests {
  private func withStore(_ body: (PostgresStore, OwnPostgres, DatabaseSession) async throws -> Void) async throws {
    try await OwnPostgres.with { server in
      // Long for any statement here, short for a test.
      var configuration = PostgresStore.Configuration(url: server.url, statementTimeout: .seconds(5))
      configuration.grace = .seconds(1)
      configuration.waitForLocks()
      let store = PostgresStore(configuration, logger: .silent)
      let running = Task { await store.run() }
      do {
        _ = try await store.record(.sample()).get()
        try await body(store, server, server.session())
        store.close()
        await running.value
      } catch {
        server.signal(SIGCONT, try server.processes())
        store.close()
        await running.value
        throw error
      }
    }
  }

  /// Stops so many processes while they wait for a lock or for their client. One that is stopped at another time may
  /// hold what every process of the server needs, so that the whole server would stand still.
  private func stop(
    _ count: Int, _ role: Session.Role, waitingFor type: String, of server: OwnPostgres, _ session: DatabaseSession
  ) async throws {
    try await eventually("\(count) processes stand still") {
      let condition = "wait_event_type = '\(type)'"
      let waiting = try session.backends(role, condition).sorted()
      guard waiting.count == count else { return false }
      let pids = waiting.map { Int32($0)! }
      server.signal(SIGSTOP, pids)
      if try session.backends(role, condition).sorted() == waiting { return true }
      server.signal(SIGCONT, pids)
      return false
    }
  }

  /// What was under way is looked up on a new connection, and recorded once.
  @Test func recordingGoesOnThoughTheWritersBackendsStandStill() async throws {
    try await withStore { store, server, session in
      let batches = try await session.holdUpWriters(of: store)
      try await stop(batches.count, .owner, waitingFor: "Lock", of: server, session)
      try session.unlock()
      for batch in batches {
        let outcome = try await batch.all()[0].get()
        #expect((try? outcome.get()) != nil)
      }
      let next = Interaction.sample()
      #expect(try await store.record(next) == .new(next))
      #expect(try session.count("SELECT count(*) FROM parley.interactions") == 2 + batches.count)
      // The transactions that stood still go on, and come to nothing.
      server.signal(SIGCONT, try server.processes())
      try await eventually("they have ended") {
        try session.count(
          "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parley owner' AND query LIKE 'BEGIN;%COPY%' AND state = 'active'"
        ) == 0
      }
      let last = Interaction.sample()
      #expect(try await store.record(last) == .new(last))
      #expect(try session.count("SELECT count(*) FROM parley.interactions") == 3 + batches.count)
    }
  }

  @Test func readsGoOnThoughTheReadersBackendsStandStill() async throws {
    try await withStore { store, server, session in
      let interaction = Interaction.sample()
      _ = try await store.record(interaction)
      let reads = Calls(30) { _ throws(RPCError) in try await store.interaction(interaction.id, of: .a) }
      _ = await reads.all()
      try await stop(session.backends(.reader).count, .reader, waitingFor: "Client", of: server, session)
      #expect(try await store.interaction(interaction.id, of: .a)?.id == interaction.id)
      #expect(try await store.pages().flatMap { $0 }.count == 2)
    }
  }

  @Test func callsFailAndThePartsRecoverWhereTheWholeServerStandsStill() async throws {
    try await withStore { store, server, session in
      let interaction = Interaction.sample()
      _ = try await store.record(interaction)
      // So that the list below has a connection, and need not wait for one.
      _ = try await store.pages()
      try await eventually("the database is fit") { await store.databaseState() == .fit }
      let processes = try server.processes()
      server.signal(SIGSTOP, processes)
      let begun = ContinuousClock.now
      // As at its deadline, a call is given up: it does not wait for PostgreSQL to take the request to cancel.
      let read = Calls(1) { _ throws(RPCError) in
        try await store.page(ListInteractions().checked(tenant: .a, now: .now), of: .a).interactions.count
      }
      let record = Calls(1) { _ throws(RPCError) in try await store.record(.sample()).get() }
      guard case .unfit(_, isCertain: false) = await store.databaseState() else {
        Issue.record("the database passes for fit, or for certain")
        return
      }
      read.cancel(0)
      let answer = await read.all()[0]
      #expect(throws: RPCError.cancelled) { try answer.get() }
      let refused = await record.all()[0]
      #expect(throws: RPCError.self) { try refused.get() }
      if case .failure(let error) = refused { #expect(error.code == .unavailable && error.retryAfter != nil) }
      #expect(ContinuousClock.now - begun < .seconds(120))

      server.signal(SIGCONT, processes)
      try await eventually("recording goes on") { (try? await store.record(.sample()).get()) != nil }
      try await eventually("reads go on") { (try? await store.interaction(interaction.id, of: .a)) != nil }
      try await eventually("the database is fit again") { await store.databaseState() == .fit }
    }
  }
}
