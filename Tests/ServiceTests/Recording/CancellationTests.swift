import Core
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct CancellationTests {
  typealias Read = @Sendable (PostgresStore) async throws(RPCError) -> Void

  static let reads: [(String, Read)] = [
    ("get", { store throws(RPCError) in _ = try await store.interaction(InteractionID(at: .now), of: .a) }),
    (
      "list",
      { store throws(RPCError) in
        _ = try await store.page(ListInteractions().checked(tenant: .a, now: .now), of: .a)
      }
    ),
    (
      "stats",
      { store throws(RPCError) in _ = try await store.stats(GetStats().checked(tenant: .a, now: .now), of: .a) }
    ),
  ]

  @Test func stopsTheStatementOfACancelledRead() async throws {
    try await TestDatabase.with { database in
      try await database.withStore(database.patient(.oneReader)) { store in
        try await database.warmUp(store)
        let interaction = Interaction.sample()
        _ = try await store.record(interaction)
        _ = try await store.interaction(interaction.id, of: .a)
        let session = try database.session()
        let backend = try session.backends(.reader)
        #expect(backend.count == 1)
        for (name, read) in Self.reads {
          try session.lockInteractions(against: .everybody)
          let call = Calls(1) { _ throws(RPCError) in try await read(store) }
          try await eventually("the \(name) waits in the database") { try session.waitsForLock(.reader) }
          call.cancel(0)
          // Answered while the lock is still held, so the statement has ended.
          guard case .failure(let error) = await call.all()[0] else {
            Issue.record("the cancelled \(name) succeeded")
            return
          }
          #expect(error.code == .cancelled, "\(name)")
          #expect(error.reason == .callCancelled, "\(name)")
          #expect(try session.backends(.reader, "state = 'active'") == [], "\(name)")
          try session.unlock()
          // The same connection serves on.
          #expect(try await store.interaction(interaction.id, of: .a)?.id == interaction.id, "\(name)")
          #expect(try session.backends(.reader) == backend, "\(name)")
        }
      }
    }
  }

  /// As PostgreSQL does with one that comes between two statements.
  @Test(.notDistributed(.countedStatements)) func asksAgainWhereARequestToCancelIsDropped() async throws {
    try await TestDatabase.with { database in
      let session = try database.session()
      let requests = Mutex(0)
      let relay = try PostgresRelay(session) { direction, bytes in
        // protocol.html, CancelRequest: its length, and 80877102.
        guard direction == .toServer, bytes.starts(with: [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e]) else { return true }
        return requests.withLock { requests in
          requests += 1
          return requests > 2
        }
      }
      defer { relay.close() }
      let connection = OwnerConnection(.init(url: "\(database.url) \(relay.url)"), logger: .silent)
      try session.lockInteractions(against: .everybody)
      let call = Calls(1) { _ throws(RPCError) in
        let result = await connection.run { (connection) throws(PostgresError) in
          try connection.run(Command(Statement("count", "SELECT count(*) FROM parley.interactions"))).count
        }
        if case .failure(let error) = result { throw error.rpcError }
      }
      try await eventually("it waits in the database") { try session.waitsForLock(.owner) }
      call.cancel(0)
      guard case .failure(let error) = await call.all()[0] else {
        Issue.record("the cancelled call succeeded")
        return
      }
      #expect(error.code == .cancelled)
      // On a busy machine another may be sent before the one that PostgreSQL has taken shows.
      #expect(requests.withLock(\.self) >= 3)
      try session.unlock()
    }
  }

  @Test func leavesTheStatementsOfOthersAlone() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let session = try database.session()
      try session.lockInteractions(against: .everybody)
      let connection = database.owner(statementTimeout: .zero)
      let count = Statement("count", "SELECT count(*) FROM parley.interactions")
      let calls = Calls(2) { _ throws(RPCError) in
        let result = await connection.run { (connection) throws(PostgresError) in
          try connection.run(Command(count)).count
        }
        switch result {
        case .success(let count): return count
        case .failure(let error): throw error.rpcError
        }
      }
      try await eventually("one waits in the database") { try session.waitsForLock(.owner) }
      // Whichever of the two it is; the other stands in line for the connection.
      calls.cancel(1)
      calls.cancel(1)
      for _ in 0..<100 { await Task.yield() }
      try session.unlock()
      let answers = await calls.all()
      #expect(try answers[0].get() == 1)
    }
  }

  @Test func doesNothingForACallCancelledBefore() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let interaction = Interaction.sample()
      let calls = Calls(4) { call throws(RPCError) in
        withUnsafeCurrentTask { $0?.cancel() }
        switch call {
        case 0: _ = try await store.record(interaction)
        // A tenant whose number is not known yet.
        case 1: _ = try await store.record(interaction, for: .b)
        case 2: _ = try await store.interaction(interaction.id, of: .a)
        default: _ = try await store.interaction(interaction.id, of: .b)
        }
      }
      for answer in await calls.all() { #expect(throws: RPCError.cancelled) { try answer.get() } }
      // What is recorded afterwards comes after whatever might have been queued.
      _ = try await store.record(.sample())
      #expect(try database.rowCount("id = '\(interaction.id)'") == 0)
    }
  }

  @Test func stopsACallThatWaitsForItsTenantsNumber() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let session = try database.session()
      try session.sql("BEGIN; LOCK TABLE parley.tenants IN ACCESS EXCLUSIVE MODE")
      let call = Calls(1) { _ throws(RPCError) in try await store.record(.sample(), for: .b) }
      try await eventually("it waits in the database") { try session.waitsForLock(.owner) }
      call.cancel(0)
      guard case .failure(let error) = await call.all()[0] else {
        Issue.record("the cancelled call succeeded")
        return
      }
      #expect(error.code == .cancelled)
      try session.unlock()
      let interaction = Interaction.sample()
      #expect(try await store.record(interaction, for: .b) == .new(interaction))
      #expect(try database.rowCount() == 2)
    }
  }

  @Test func stopsAReadAtTheStatementTimeout() async throws {
    try await TestDatabase.with { database in
      try await database.withStore { try await database.warmUp($0) }
      var settings = PostgresStore.Configuration(
        url: database.url, connections: .oneReader, statementTimeout: .seconds(5))
      settings.waitForLocks()
      try await database.withStore(settings) { store in
        _ = try await store.pages()
        let session = try database.session()
        try session.lockInteractions(against: .everybody)
        let error = await #expect(throws: RPCError.self) { try await store.pages() }
        #expect(error?.code == .deadlineExceeded)
        #expect(error?.message == RPCError.deadlineExceeded.message)
        #expect(error?.cause?.contains("statement timeout") == true)
        try session.unlock()
        #expect(try await store.pages()[0].count == 1)
      }
    }
  }

  @Test func stopsRecordingAtTheStatementTimeout() async throws {
    try await TestDatabase.with { database in
      try await database.withStore { try await database.warmUp($0) }
      var settings = database.patient()
      settings.statementTimeout = .seconds(5)
      try await database.withStore(settings) { store in
        _ = try await store.record(.sample()).get()
        let session = try database.session()
        try session.lockInteractions(against: .writers)
        let interaction = Interaction.sample()
        let error = await #expect(throws: RPCError.self) { try await store.record(interaction).get() }
        #expect(error?.code == .deadlineExceeded)
        try session.unlock()
        // Nothing of it was written, and the writer is in order.
        #expect(try await store.record(interaction) == .new(interaction))
      }
    }
  }
}
