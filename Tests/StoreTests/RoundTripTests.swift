import Domain
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Store

/// How often a read goes to PostgreSQL and back.
@Suite(.timeLimit(.minutes(5))) struct RoundTripTests {
  /// Counts how often bytes go to PostgreSQL after some have come from it: the round trips of one connection.
  private final class Trips: Sendable {
    private let state = Mutex((count: 0, isAway: false))

    func pass(_ direction: PostgresRelay.Direction) {
      state.withLock { state in
        if direction == .toServer, !state.isAway { state.count += 1 }
        state.isAway = direction == .toServer
      }
    }

    var count: Int { state.withLock { $0.count } }
  }

  /// A reader through a relay that counts.
  private struct Reader {
    let connection: ReaderConnection
    let trips: Trips

    func trips(
      _ body: @Sendable (ReaderSession) throws(PostgresError) -> Void
    ) async throws -> Int {
      // Statements are prepared along; the first time opens the connection.
      try await connection.run(body).get()
      let before = trips.count
      try await connection.run(body).get()
      return trips.count - before
    }
  }

  private func withReader(
    of database: TestDatabase, _ body: (Reader) async throws -> Void
  ) async throws {
    let trips = Trips()
    let relay = try PostgresRelay(database.session()) { direction, _ in
      trips.pass(direction)
      return true
    }
    defer { relay.close() }
    try await body(
      Reader(
        connection: ReaderConnection(ConnectionConfiguration(url: "\(database.url) \(relay.url)"), logger: .silent),
        trips: trips))
  }

  @Test func statisticsTakeOneOrTwo() async throws {
    let now = Timestamp.now
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let given = (0..<500).map { Interaction.sample(at: now - Int64($0) * .millisecondsPerHour) }
      _ = try await store.record(given, for: .b)
      try await eventually("all is merged") { try database.isFolded() }
      let lease = try database.session()
      try lease.holdRollupLease()
      _ = try await store.record([.sample()], for: .b)
      let tenant = try database.numbered(.b)
      try await withReader(of: database) { reader in
        for interval in [nil, StatsInterval.hour, .day] {
          for model in [nil, given[0].content.modelUsed] {
            var filter = InteractionFilter()
            filter.modelUsed = model
            let query = try GetStats(filter: filter, interval: interval).checked(tenant: .b, now: .now)
            // From rollups and the change log; of so few interactions, from their rows after that.
            // Where few are expected, their rows come first.
            for (exactUpTo, isSmall, trips) in [
              (0, false, 1), (2000, false, 2), (2000, true, 1), (501, true, 1), (500, true, 2),
            ] {
              let counted = Mutex<Int64>(0)
              let taken = try await reader.trips { (session) throws(PostgresError) in
                let report = try session.stats(query, of: tenant, .standard, exactUpTo: exactUpTo, isSmall: isSmall)
                counted.withLock { $0 = report.totals.totalInteractions }
              }
              #expect(taken == trips)
              #expect(counted.withLock { $0 } == 501)
            }
          }
        }
        // From rows alone.
        var filter = InteractionFilter()
        filter.conversationID = given[0].content.conversationID
        let query = try GetStats(filter: filter).checked(tenant: .b, now: .now)
        #expect(
          try await reader.trips { (session) throws(PostgresError) in
            _ = try session.stats(query, of: tenant, .standard, exactUpTo: 0)
          } == 1)
      }
      try lease.unlock()
    }
  }

  @Test func smallTenantsAreRememberedFromTheStartOfTheirRange() {
    let tenants = SmallTenants()
    let start = Timestamp("2024-05-01T00:00:00.000Z")
    var report = StatsReport(start: start, end: start + .millisecondsPerDay)
    #expect(!tenants.contains(.a, from: start))
    report.totals.totalInteractions = 2000
    tenants.remember(.a, report, exactUpTo: 2000)
    #expect(tenants.contains(.a, from: start) && tenants.contains(.a, from: start + 1))
    #expect(!tenants.contains(.a, from: start - 1) && !tenants.contains(.b, from: start))
    report.totals.totalInteractions = 2001
    tenants.remember(.a, report, exactUpTo: 2000)
    #expect(!tenants.contains(.a, from: start))
  }

  @Test func fullPagesAndGetsTakeOne() async throws {
    let now = Timestamp.now
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let given = (0..<60).map { Interaction.sample(at: now - Int64($0) * .millisecondsPerHour) }
      _ = try await store.record(given, for: .b)
      try await eventually("all is merged") { try database.isFolded() }
      let tenant = try database.numbered(.b)
      try await withReader(of: database) { reader in
        // A page that is not full asks for earlier months as well.
        for (size, trips) in [(Int32(50), 1), (100, 2)] {
          for (model, conversation) in [(nil, nil), (given[0].content.modelUsed, nil), (nil, "conversation")] {
            if model != nil, size > 50 { continue }
            var list = ListInteractions(pageSize: size)
            (list.filter.modelUsed, list.filter.conversationID) = (model, conversation)
            let query = try list.checked(tenant: .b, now: .now)
            #expect(
              try await reader.trips { (session) throws(PostgresError) in
                _ = try PageReader(query, tenant: tenant).page(on: session)
              } == trips, "\(size) \(model ?? "") \(conversation ?? "")")
          }
        }
        let ids = given.map(\.id)
        #expect(
          try await reader.trips { (session) throws(PostgresError) in
            _ = try session.read(InteractionLookup.commands(ids, tenant.key, .standard), tenant: tenant, plan: .keyed)
          } == 1)
      }
    }
  }
}
