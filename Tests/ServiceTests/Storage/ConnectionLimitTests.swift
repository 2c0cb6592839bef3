import Core
import Postgres
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct ConnectionLimitTests {
  /// Runs `body` with stores that share so few connections, each with one of every kind.
  private func withStores(
    _ count: Int, connectionLimit: Int, _ body: ([PostgresStore], DatabaseSession) async throws -> Void
  ) async throws {
    try await TestDatabase.with(migrated: false) { database in
      let name = try database.sql("SELECT current_database()")[0][0]
      let role = "limited_\(name)"
      try database.sql("CREATE ROLE \(role) LOGIN IN ROLE parley_reader; ALTER DATABASE \(name) OWNER TO \(role)")
      // The database goes with its owner's objects, and then the owner can.
      defer {
        _ = try? database.sql("REASSIGN OWNED BY \(role) TO CURRENT_USER; DROP OWNED BY \(role); DROP ROLE \(role)")
      }
      let url = "\(database.url) user=\(role)"
      try await Migrator(url: url, logger: .silent).migrate()
      try database.sql("ALTER ROLE \(role) CONNECTION LIMIT \(connectionLimit)")
      let stores = (0..<count).map { _ in PostgresStore(.init(url: url), logger: .silent) }
      let running = stores.map { store in Task { await store.run() } }
      defer { for store in stores { store.close() } }
      let session = try database.session()
      try await eventually("each has one of every kind") {
        try session.backends(.owner).count >= 3 * count && session.backends(.reader).count >= count
      }
      try await body(stores, session)
      for store in stores { store.close() }
      for task in running { await task.value }
    }
  }

  @Test func storesThatShareFewConnectionsAllGoOn() async throws {
    try await withStores(3, connectionLimit: 14) { stores, session in
      for round in 0..<3 {
        let interactions = (0..<600).map { _ in Interaction.sample() }
        let records = Calls(interactions.count) { call throws(RPCError) in
          try await stores[call % stores.count].record(interactions[call]).get()
        }
        for answer in await records.all() { _ = try answer.get() }
        let reads = Calls(interactions.count) { call throws(RPCError) in
          let store = stores[call % stores.count]
          switch call % 9 {
          case 0..<3:
            return try await store.stats(GetStats().checked(tenant: .a, now: .now), of: .a).totals.totalInteractions
          case 3..<6:
            return Int64(
              try await store.page(ListInteractions().checked(tenant: .a, now: .now), of: .a).interactions.count)
          default: return try await store.interaction(interactions[call].id, of: .a) == nil ? 0 : 1
          }
        }
        for answer in await reads.all() { #expect(try answer.get() > 0, "round \(round)") }
        #expect(try session.backends(.owner).count + session.backends(.reader).count <= 14)
      }
    }
  }
}
