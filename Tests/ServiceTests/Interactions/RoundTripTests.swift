import Core
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

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
      try await eventually("all is merged") { try database.isMerged() }
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

  @Test func pagesAndGetsTakeOneAndSearchesTwo() async throws {
    let now = Timestamp.now
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let given = (0..<60).map { Interaction.sample(at: now - Int64($0) * .millisecondsPerHour) }
      _ = try await store.record(given, for: .b)
      try await eventually("all is merged") { try database.isMerged() }
      let tenant = try database.numbered(.b)
      let (conversation, model) = (given[0].content.conversationID, given[0].content.modelUsed)
      try await withReader(of: database) { reader in
        func trips(
          _ size: Int32, _ partitions: KnownPartitions = KnownPartitions(), view: InteractionView = .basic,
          _ set: (inout InteractionFilter) -> Void = { _ in }
        ) async throws -> [Int] {
          var list = ListInteractions(pageSize: size, view: view)
          set(&list.filter)
          let query = try list.checked(tenant: .b, now: .now)
          let hints = PageHints()
          var taken: [Int] = []
          for _ in 0..<3 {
            let before = reader.trips.count
            try await reader.connection.run { (session) throws(PostgresError) in
              _ = try PageReader(query, tenant: tenant, .standard, partitions, hints).page(on: session)
            }.get()
            taken.append(reader.trips.count - before)
          }
          return taken
        }
        // The first time opens the connection.
        _ = try await trips(1)
        for partitions in [KnownPartitions(), .init(count: 5), .init(count: 500)] {
          #expect(try await trips(50, partitions) == [1, 1, 1])
          // A page that is not full asks for earlier months as well: the next one at once.
          #expect(try await trips(100, partitions) == [2, 1, 1])
          for size in [Int32(50), 100] {
            #expect(try await trips(size, partitions) { $0.conversationID = conversation } == [1, 1, 1])
          }
          #expect(try await trips(50, partitions) { $0.modelUsed = model } == [1, 1, 1])
          // The newest do not fill the page; posting lists; and the rows that they name. After two such pages without the newest.
          for view in [InteractionView.basic, .full] {
            #expect(try await trips(100, partitions, view: view) { $0.modelUsed = model } == [3, 3, 2])
          }
          // Of two fields the rarer one's postings are read after that.
          let ofTwo = try await trips(100, partitions) { ($0.modelUsed, $0.handoffTriggered) = (model, true) }
          #expect(ofTwo == [4, 4, 3])
        }
        let ids = given.map(\.id)
        #expect(
          try await reader.trips { (session) throws(PostgresError) in
            _ = try session.read(InteractionLookup.commands(ids, tenant.key, .standard), tenant: tenant, plan: .keyed)
          } == 1)
      }
    }
  }

  /// Of a tenant whose interactions are older, the next page is looked for in their months at once.
  @Test func pagesOfOldInteractionsTakeOneTheNextTime() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let old = Interaction.sample(at: Timestamp("2022-08-15T12:00:00.000Z"))
      let lease = try database.session()
      try lease.holdRollupLease()
      _ = try await store.record(old, for: .b).get()
      let tenant = try database.numbered(.b)
      for isMerged in [false, true] {
        if isMerged {
          try lease.unlock()
          try await eventually("all is merged") { try database.isMerged() }
        }
        try await withReader(of: database) { reader in
          for isOfConversation in [true, false] {
            var list = ListInteractions(pageSize: 10)
            if isOfConversation { list.filter.conversationID = old.content.conversationID }
            let query = try list.checked(tenant: .b, now: .now)
            let hints = PageHints()
            for trips in [isOfConversation ? 2 : 3, 1] {
              let before = reader.trips.count
              let page = try await reader.connection.run { (session) throws(PostgresError) in
                try PageReader(query, tenant: tenant, .standard, KnownPartitions(count: 500), hints).page(on: session)
                  .interactions
              }.get()
              #expect(page.map(\.id) == [old.id])
              // The first time opens the connection.
              if trips == 1 { #expect(reader.trips.count - before == trips) }
            }
          }
        }
      }
    }
  }
}
