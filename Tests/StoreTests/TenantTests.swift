import Domain
import Foundation
import TestSupport
import Testing

@testable import Store

/// Row-level security holds the line where a statement would not.
@Suite(.timeLimit(.minutes(5))) struct RowSecurityTests {
  /// Tenant a has one interaction; tenant b one of the same id, and one more.
  private struct Scene {
    let database: TestDatabase
    let shared: InteractionID
    let a: TenantKey
    let b: TenantKey

    static func with(_ body: (Scene) async throws -> Void) async throws {
      try await TestDatabase.withStore { store, database in
        let ofA = Interaction.sample { ($0.customerMessage, $0.estimatedCostNanos) = ("a", 1) }
        let ofB = ofA.with { ($0.customerMessage, $0.estimatedCostNanos) = ("b", 1000) }
        let another = Interaction(id: InteractionID(at: ofA.createdAt), content: ofB.content)
        _ = try await store.record([ofA], for: .a)
        _ = try await store.record([ofB, another], for: .b)
        try await body(
          Scene(database: database, shared: ofA.id, a: database.key(of: .a), b: database.key(of: .b)))
      }
    }

    func connection(_ purpose: PostgresConnection.Purpose) -> PostgresConnection {
      PostgresConnection(.init(url: database.url), purpose: purpose, logger: .silent)
    }
  }

  /// The statements of reading, and whose rows their answers show.
  private enum Query: CaseIterable {
    case get, page, weighedPage, stats

    /// As it is, or as if somebody had forgotten its tenant condition.
    func statement(hasTenantCondition: Bool) throws -> Statement {
      let statement =
        switch self {
        case .get: Statement.getInteractions
        case .page: Statement.interactionPage(from: .all)
        case .weighedPage: Statement.weighedInteractionPage(from: .all)
        case .stats: Statement.interactionStats
        }
      if hasTenantCondition { return statement }
      let text = statement.text.replacingOccurrences(of: "tenant = $1::int4", with: "$1::int4 IS NOT NULL")
      try #require(text != statement.text)
      return Statement("\(statement.name)_open", text)
    }

    func command(_ statement: Statement, tenant: TenantKey, id: InteractionID) -> Command {
      Command(statement) {
        if self == .get {
          $0.add(tenant.rawValue)
          $0.add([id])
          return
        }
        $0.add(
          InteractionFilter(), tenant: tenant, from: InteractionID(high: 0, low: 0),
          upTo: InteractionID(high: .max, low: .max))
        if self == .stats {
          $0.add(nil as Int64?)
          $0.add(Int64(Limits.statsGroupsMax))
          return
        }
        $0.add(Int32(200))
        $0.add(true)
      }
    }

    /// One letter an interaction.
    func seen(_ rows: Rows) throws(PostgresError) -> String {
      var seen: [String] = []
      for row in rows {
        if self != .stats {
          seen.append(try row.text(2))
        } else if try row.int32(0) == 0b11111 {
          let cost = Int(try row.int64(5))
          seen.append(String(repeating: "a", count: cost % 1000) + String(repeating: "b", count: cost / 1000))
        }
      }
      return seen.sorted().joined()
    }
  }

  /// What a query shows with `$1` being that tenant's number, and that tenant (or none) set for row security.
  private func seen(
    _ query: Query, hasTenantCondition: Bool = true, tenant: TenantKey, set: TenantKey?, in scene: Scene,
    as purpose: PostgresConnection.Purpose = .reader
  ) async throws -> String {
    let statement = try query.statement(hasTenantCondition: hasTenantCondition)
    return try await scene.connection(purpose).run { (connection) throws(PostgresError) in
      let command = query.command(statement, tenant: tenant, id: scene.shared)
      return if let set {
        try query.seen(connection.read(command, tenant: set, plan: .fresh))
      } else {
        try query.seen(connection.run(command))
      }
    }.get()
  }

  @Test func hidesForeignRowsFromStatementsWithoutTheirTenantCondition() async throws {
    try await Scene.with { scene async throws in
      for query in Query.allCases {
        let both = query == .get ? "ab" : "abb"
        #expect(
          try await seen(
            query, hasTenantCondition: false, tenant: scene.b, set: scene.a, in: scene, as: .owner) == both,
          "the \(query) would show foreign rows, but for row security")
        #expect(
          try await seen(query, hasTenantCondition: false, tenant: scene.b, set: scene.a, in: scene) == "a",
          "\(query)")
        #expect(
          try await seen(query, hasTenantCondition: false, tenant: scene.a, set: scene.b, in: scene)
            == (query == .get ? "b" : "bb"), "\(query)")
      }
    }
  }

  @Test func showsNothingWhereTheStatementAndTheSettingDisagree() async throws {
    try await Scene.with { scene async throws in
      for query in Query.allCases {
        #expect(try await seen(query, tenant: scene.a, set: scene.a, in: scene) == "a", "\(query)")
        #expect(try await seen(query, tenant: scene.b, set: scene.a, in: scene) == "", "\(query)")
        #expect(try await seen(query, tenant: scene.a, set: scene.b, in: scene) == "", "\(query)")
      }
    }
  }

  @Test func showsNothingWhereNoTenantIsSet() async throws {
    try await Scene.with { scene async throws in
      for query in Query.allCases {
        #expect(try await seen(query, tenant: scene.a, set: nil, in: scene) == "", "\(query)")
        #expect(
          try await seen(query, hasTenantCondition: false, tenant: scene.a, set: nil, in: scene) == "", "\(query)")
      }
    }
  }

  @Test func hidesTheDeletedWhateverTheStatement() async throws {
    try await Scene.with { scene async throws in
      try scene.database.sql("UPDATE parley.interactions SET deleted_at = now() WHERE tenant = \(scene.a.rawValue)")
      for query in Query.allCases {
        #expect(try await seen(query, tenant: scene.a, set: scene.a, in: scene) == "", "\(query)")
      }
    }
  }

  @Test func forgetsTheTenantAfterEachPipeline() async throws {
    try await Scene.with { scene async throws in
      let connection = scene.connection(.reader)
      let open = try Query.page.statement(hasTenantCondition: false)
      let (during, setting, after) = try await connection.run { (connection) throws(PostgresError) in
        let command = Query.page.command(open, tenant: scene.a, id: scene.shared)
        let during = try Query.page.seen(connection.read(command, tenant: scene.a, plan: .keyed))
        let setting = try connection.run(
          Command(Statement("setting", "SELECT coalesce(current_setting('parley.tenant', true), '')")))
        let left = try setting.first { _ in true }?.text(0)
        return (during, left, try Query.page.seen(connection.run(command)))
      }.get()
      #expect(during == "a")
      #expect(setting == "")
      #expect(after == "")
    }
  }

  @Test func letsReadersDoNothingElse() async throws {
    try await Scene.with { scene async throws in
      let partition = try scene.database.sql("SELECT tableoid::regclass FROM parley.interactions LIMIT 1")[0][0]
      #expect(partition.hasPrefix("parley.interactions_20"))
      let connection = scene.connection(.reader)
      for text in [
        "INSERT INTO parley.interactions SELECT * FROM parley.interactions",
        "UPDATE parley.interactions SET tenant = tenant",
        "UPDATE parley.interactions SET deleted_at = NULL",
        "DELETE FROM parley.interactions",
        "TRUNCATE parley.interactions",
        "SELECT FROM parley.interactions FOR UPDATE",
        "SELECT FROM parley.tenants",
        "SELECT FROM parley.migrations",
        "SELECT FROM \(partition)",
        "SELECT FROM parley.interactions_early",
        "SET row_security = off; SELECT FROM parley.interactions",
        "ALTER TABLE parley.interactions DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_tenant ON parley.interactions",
        "CREATE TABLE parley.mine (a int)",
        "SELECT parley.ensure_partition(1600000000000)",
      ] {
        let result = await connection.run { (connection) throws(PostgresError) in
          // Even with a tenant that there is.
          try connection.script("SET parley.tenant = '\(scene.a.rawValue)'; \(text)")
        }
        guard case .failure(let error) = result, case .refused("42501") = error.kind else {
          Issue.record("\(text): \(result)")
          continue
        }
      }
      #expect(try scene.database.rowCount() == 3)
    }
  }
}

@Suite(.timeLimit(.minutes(5))) struct TenantIsolationTests {
  /// Both record the same ids and conversations; each is answered as though it were alone.
  @Test func answersEachTenantAsIfItWereAlone() async throws {
    var random = SeededGenerator()
    let times = random.times(30)
    let ids = (0..<150).map { _ in random.id(at: random.pick(times)) }
    let tenants = [Tenant.a, .b]
    var models: [Tenant: [InteractionID: Interaction]] = [.a: [:], .b: [:]]
    try await TestDatabase.withStore { store, _ in
      for round in 0..<200 {
        let comment = Comment(rawValue: "seed \(random.seed), round \(round)")
        let tenant = random.pick(tenants)
        let model = models[tenant]!
        switch round < 30 ? 0 : Int.random(in: 0..<5, using: &random) {
        case 0:
          let batch = (0..<10).map { _ in Interaction(id: random.pick(ids), content: random.content()) }
          let outcomes = try await store.record(batch, for: tenant)
          for (interaction, outcome) in zip(batch, outcomes) {
            if let kept = models[tenant]![interaction.id] {
              #expect(
                kept.content.isExactly(interaction.content)
                  ? outcome == .already(interaction) : outcome.reason == .interactionConflict, comment)
            } else {
              #expect(outcome == .new(interaction), comment)
              models[tenant]![interaction.id] = interaction
            }
          }
        case 1, 2:
          let id = random.pick(ids)
          let got = try await store.interaction(id, of: tenant)
          #expect(got?.id == model[id]?.id, comment)
          if let got, let expected = model[id] { #expect(got.content.isExactly(expected.content), comment) }
        case 3:
          let filter = random.filter()
          let listed = try await store.pages(filter, size: 50, of: tenant).flatMap { $0 }
          let expected = model.values.filter(filter.selects).sorted { $0.id > $1.id }
          #expect(listed.map(\.id) == expected.map(\.id), comment)
          #expect(zip(listed, expected).allSatisfy { $0.content.isExactly($1.content) }, comment)
        default:
          var filter = random.filter()
          filter.startTime = filter.startTime ?? SeededGenerator.dataStart
          filter.endTime = filter.endTime ?? SeededGenerator.dataEnd + 86_400_000
          let query = try GetStats(filter: filter, interval: .day).checked(tenant: tenant, now: .now)
          let report = try await store.stats(query, of: tenant)
          #expect(report.isExactly(StatsReport(of: Array(model.values), for: query)), comment)
        }
      }
    }
  }

  @Test func keepsTenantsApartWhoseNamesOnlyLookAlike() async throws {
    let names = ["caf\u{e9}", "cafe\u{301}"].map { Tenant($0)! }
    let interaction = Interaction.sample()
    try await TestDatabase.withStore { store, database in
      _ = try await store.record(interaction, for: names[0])
      #expect(try await store.interaction(interaction.id, of: names[0]) != nil)
      #expect(try await store.interaction(interaction.id, of: names[1]) == nil)
      #expect(try await store.pages(of: names[1]).flatMap { $0 }.isEmpty)
      #expect(try await store.record(interaction, for: names[1]) == .new(interaction))
      #expect(try database.sql("SELECT count(*) FROM parley.tenants") == [["2"]])
    }
  }

  @Test func tellsATenantThatNeverRecordedNothing() async throws {
    let interaction = Interaction.sample()
    try await TestDatabase.withStore { store, database in
      _ = try await store.record(interaction, for: .a)
      #expect(try await store.interaction(interaction.id, of: .b) == nil)
      #expect(try await store.pages(of: .b) == [[]])
      let query = try GetStats(interval: .day).checked(tenant: .b, now: .now)
      #expect(try await store.stats(query, of: .b) == StatsReport(start: query.start, end: query.end))
      #expect(try database.sql("SELECT name FROM parley.tenants") == [["tenant-a"]])
    }
  }
}
