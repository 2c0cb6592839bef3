import Core
import TestSupport
import Testing

@testable import Postgres
@testable import Service

/// Row security holds the line where a statement would not: each that a reader runs, without its tenant condition.
@Suite(.timeLimit(.minutes(5))) struct RowSecurityTests {
  /// Tenant a has one interaction; tenant b one of the same id, and one more. Each has rollups, posting lists and
  /// change records, too, and no server runs.
  struct Scene {
    let database: TestDatabase
    let a: NumberedTenant
    let b: NumberedTenant
    let shared: Interaction

    static let nobody = NumberedTenant(key: .none, name: Tenant("nobody")!)

    static func with(_ body: (Scene) async throws -> Void) async throws {
      try await TestDatabase.with { database in
        let ofA = Interaction.sample { ($0.customerMessage, $0.estimatedCostNanos) = ("a", 1) }
        let ofB = ofA.with { ($0.customerMessage, $0.estimatedCostNanos) = ("b", 1000) }
        let another = Interaction(id: InteractionID(at: ofA.createdAt), content: ofB.content)
        try await database.withStore { store in
          _ = try await store.record([ofA], for: .a)
          _ = try await store.record([ofB, another], for: .b)
        }
        #expect(try database.isMerged(), "a store that closes merges what is left")
        try database.sql(
          """
          INSERT INTO parley.deltas (tenant, recount_from, recount_to) SELECT key, 1, 2 FROM parley.tenants;
          INSERT INTO parley.deltas (tenant, additions) SELECT key, '\\x00' FROM parley.tenants
          """)
        try await body(
          Scene(database: database, a: database.numbered(.a), b: database.numbered(.b), shared: ofA))
      }
    }
  }

  /// A statement that readers run.
  struct Query {
    var statement: Statement
    var fill: (inout Parameters, TenantKey) -> Void

    /// Every one of them, to find the shared interaction and whatever else there is.
    static func all(for shared: Interaction) -> [Query] {
      let hour = shared.id.hour
      let months = Months(covering: shared.id...shared.id)
      let facet = Facet.modelUsed(shared.content.modelUsed).rawValue
      var filter = InteractionFilter()
      filter.conversationID = shared.content.conversationID
      let everything = (from: InteractionID(high: 0, low: 0), upTo: InteractionID(high: .max, low: .max))
      let statements = RecordLayout.standard.statements
      func page(_ source: PageSource, in months: Months, _ texts: PageTexts) -> Query {
        let form = PageForm(source: source, months: months, fields: filter.fields, texts: texts)
        return Query(statement: statements.pages(form)) {
          if source == .candidates {
            $0.add($1.rawValue)
            $0.add([shared.id])
          } else {
            $0.add(tenant: $1, from: everything.from, upTo: everything.upTo)
          }
          $0.add(Int32(200))
          if texts == .ofLightRows { $0.add(Int32(100_000)) }
          $0.add(form.fields, of: filter)
        }
      }
      return PageSource.allCases.flatMap {
        [page($0, in: .all, .none), page($0, in: months, .ofLightRows), page($0, in: months, .weighed)]
      } + [
        Query(statement: statements.get(in: months)) {
          $0.add($1.rawValue)
          $0.add([shared.id])
        },
        Query(statement: statements.stats) {
          $0.add(tenant: $1, from: everything.from, upTo: everything.upTo)
          $0.add(filter)
          $0.add(nil as Int64?)
          $0.add(Int64(Limits.statsGroupsMax))
          $0.add(nil as Int64?)
        },
        Query(statement: statements.entries(in: months)) {
          $0.add($1.rawValue)
          $0.add(everything.from)
          $0.add(everything.upTo)
          $0.add(Int32(100))
        },
        Query(statement: .readStaleHours) { $0.add($1.rawValue) },
        Query(statement: .firstDeltas) {
          $0.add($1.rawValue)
          $0.add(Int32(100))
          $0.add(Int32(100))
        },
        Query(statement: .readChangeRecords) {
          $0.add($1.rawValue)
          $0.add(Int32(100))
        },
        Query(statement: .readRollups) {
          $0.add($1.rawValue)
          $0.add(Grain.hourGroup.rawValue)
          $0.add(hour)
          $0.add(hour + 1)
          $0.add(RollupFilter())
          $0.add(Int32(1000))
          $0.add(Int32(100))
        },
        Query(statement: .postingsOfHour) {
          $0.add($1.rawValue)
          $0.add(hour)
          $0.add(Int32(10_000))
        },
      ]
        + [Statement.countPostings, .readPostings].map { statement in
          Query(statement: statement) {
            $0.add($1.rawValue)
            $0.add([facet])
            $0.add(hour)
            $0.add(hour + 1)
            $0.add(Int32(100))
            if statement == .readPostings {
              $0.add(Int32(10_000))
              $0.add(Int32(1000))
            }
          }
        }
    }

    /// With the rows as text, in an order that they do not decide; as it is, or as if somebody had forgotten its
    /// tenant condition.
    func command(_ tenant: NumberedTenant, hasTenantCondition: Bool = true) throws -> Command {
      var text = statement.text
      if !hasTenantCondition {
        text = text.replacing("tenant = $1::int4", with: "$1::int4 IS NOT NULL")
        try #require(text != statement.text, "\(statement.name) has no tenant condition")
      }
      text = "SELECT answer::text FROM (\n\(text)\n) AS answer ORDER BY answer::text"
      return Command(Statement("\(hasTenantCondition)_\(statement.name)", text)) { fill(&$0, tenant.key) }
    }
  }

  private func texts(_ rows: Rows) throws(PostgresError) -> [String] {
    try rows.map { (row) throws(PostgresError) in try row.text(0) }
  }

  /// What a statement shows to a tenant's reader.
  private func seen(_ command: Command, by tenant: NumberedTenant, in scene: Scene) async throws -> [String] {
    try await scene.database.reader().run { (connection) throws(PostgresError) in
      // Also where the registry has no such tenant.
      let checked = ReadFence.tenant(tenant, .fresh)
      let fence = ReadFence(checked.command, distributed: checked.distributedStatement) { (_) throws(PostgresError) in }
      return try connection.read(behind: fence) { (connection) throws(PostgresError) in
        try texts(connection.run(command))
      }
    }.get()
  }

  private func seenByOwner(_ command: Command, in scene: Scene) async throws -> [String] {
    try await scene.database.owner().run { (connection) throws(PostgresError) in
      try texts(connection.run(command))
    }.get()
  }

  /// Where tables are distributed, not every statement can be planned that is not about one tenant; then it shows nothing.
  private func canRun(_ open: Command, in scene: Scene) async throws -> Bool {
    do {
      _ = try await seenByOwner(open, in: scene)
      return true
    } catch let error as PostgresError where TestDatabase.isDistributed && ["0A000", "42601"].contains(error.sqlState) {
      return false
    }
  }

  @Test func hidesForeignRowsFromStatementsWithoutTheirTenantCondition() async throws {
    try await Scene.with { scene async throws in
      var runCount = 0
      for query in Query.all(for: scene.shared) {
        let open = try query.command(scene.b, hasTenantCondition: false)
        let isRun = try await canRun(open, in: scene)
        runCount += isRun ? 1 : 0
        let name = Comment(rawValue: query.statement.name)
        let nothing = try await seenByOwner(query.command(Scene.nobody), in: scene)
        for (tenant, other) in [(scene.a, scene.b), (scene.b, scene.a)] {
          let own = try await seenByOwner(query.command(tenant), in: scene)
          #expect(own != nothing, name)
          if isRun {
            #expect(try await seenByOwner(open, in: scene) != own, "it would show foreign rows: \(name)")
            #expect(try await seen(open, by: tenant, in: scene) == own, name)
          }
          #expect(try await seen(query.command(tenant), by: tenant, in: scene) == own, name)
          // The statement and the setting disagree.
          #expect(try await seen(query.command(other), by: tenant, in: scene) == nothing, name)
        }
        if isRun {
          #expect(try await seen(open, by: Scene.nobody, in: scene) == nothing, "no tenant is set: \(name)")
        }
        #expect(try await seen(query.command(scene.a), by: Scene.nobody, in: scene) == nothing, name)
      }
      #expect(runCount >= 8, "enough of them run without their tenant condition: \(runCount)")
    }
  }

  @Test func hidesForeignHoursFromALookElsewhere() async throws {
    try await Scene.with { scene async throws in
      let query = Query(statement: .firstRollup) {
        $0.add($1.rawValue)
        for bound in [0, Int32.max] { $0.add(bound) }
      }
      let open = try query.command(scene.a, hasTenantCondition: false)
      let nothing = try await seenByOwner(query.command(Scene.nobody), in: scene)
      guard try await canRun(open, in: scene) else { return }
      #expect(try await seenByOwner(open, in: scene) != nothing)
      #expect(try await seen(open, by: Scene.nobody, in: scene) == nothing)
    }
  }

  @Test func hidesTheDeletedWhateverTheStatement() async throws {
    try await Scene.with { scene async throws in
      try scene.database.sql("UPDATE parley.interactions SET deleted_at = now() WHERE tenant = \(scene.a.key.rawValue)")
      for query in Query.all(for: scene.shared) where query.statement.text.contains("FROM parley.interactions") {
        let nothing = try await seenByOwner(query.command(Scene.nobody), in: scene)
        #expect(
          try await seen(query.command(scene.a), by: scene.a, in: scene) == nothing, "\(query.statement.name)")
      }
    }
  }

  /// Neither role nor tenant nor plan outlives a reading transaction, whichever way it ends.
  @Test func leavesNothingBehindInTheSession() async throws {
    let settings = Command(
      Statement(
        "left",
        """
        SELECT array_to_string(ARRAY[current_user::text, coalesce(current_setting('parley.tenant', true), ''),
          current_setting('plan_cache_mode'), current_setting('enable_seqscan'), current_setting('enable_sort'),
          current_setting('enable_bitmapscan'), coalesce(current_setting('parley.inserts_are_counted', true), '')], ' ')
        """))
    try await Scene.with { scene async throws in
      let connection = scene.database.owner()
      let left = try await connection.run { (connection) throws(PostgresError) in
        let reader = ReaderSession(connection)
        var left = try [texts(connection.run(settings))]
        for plan in ReadPlan.allCases {
          _ = try reader.read([settings], tenant: scene.a, plan: plan)
          left.append(try texts(connection.run(settings)))
          let wrong = Command(Statement("wrong", "SELECT 1 / 0"))
          do throws(PostgresError) { _ = try reader.read([wrong], tenant: scene.a, plan: plan) } catch {}
          left.append(try texts(connection.run(settings)))
        }
        try connection.script("BEGIN; \(beginRecordingText([scene.a], .seconds(1))); COMMIT")
        left.append(try texts(connection.run(settings)))
        return left
      }.get()
      #expect(left.allSatisfy { $0 == ["postgres  auto on on on "] }, "\(left)")
    }
  }

  @Test func lacksNothingOfItsRoleWithinATransaction() async throws {
    let user = Command(Statement("user", "SELECT current_user || ' ' || current_setting('parley.tenant')"))
    try await Scene.with { scene async throws in
      let seen = try await seen(user, by: scene.a, in: scene)
      #expect(seen == ["parley_reader \(scene.a.key.rawValue)"])
    }
  }

  /// A reader has no statement outside of its transactions; what is kept of one that is over has none either.
  @Test func isNotGoneAroundByATransactionThatIsOver() async throws {
    try await Scene.with { scene async throws in
      let command = try Query.all(for: scene.shared)[0].command(scene.a, hasTenantCondition: false)
      let result = await scene.database.reader().run { (connection) throws(PostgresError) in
        let over = try connection.read(tenant: scene.a) { (transaction) throws(PostgresError) in transaction }
        return try over.run(command).count
      }
      guard case .failure(let error) = result, case .unexpectedResponse = error.kind else {
        Issue.record("\(result)")
        return
      }
    }
  }

  @Test func letsReadersDoNothingElse() async throws {
    try await Scene.with { scene async throws in
      let partition = try scene.database.sql(
        """
        SELECT inhrelid::regclass FROM pg_inherits
        WHERE inhparent = 'parley.interactions'::regclass AND inhrelid::regclass::text ~ '_20\\d\\d_' LIMIT 1
        """)[0][0]
      #expect(partition.hasPrefix("parley.interactions_20"))
      let connection = scene.database.reader()
      for text in [
        "INSERT INTO parley.interactions SELECT * FROM parley.interactions",
        "UPDATE parley.interactions SET tenant = tenant",
        "UPDATE parley.interactions SET deleted_at = NULL",
        "DELETE FROM parley.interactions",
        "TRUNCATE parley.interactions",
        "SELECT FROM parley.interactions FOR UPDATE",
        "SELECT FROM parley.tenants",
        "SELECT FROM parley.migrations",
        "SELECT FROM parley.leases",
        "SELECT FROM \(partition)",
        "SELECT FROM parley.interactions_early",
        "SET row_security = off; SELECT FROM parley.interactions",
        "ALTER TABLE parley.interactions DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_tenant ON parley.interactions",
        "CREATE TABLE parley.mine (a int)",
        "SELECT parley.ensure_partition(1600000000000)",
        "SELECT parley.add_tenant('another')",
      ] {
        let result = await connection.run { (connection) throws(PostgresError) in
          // Even with a tenant that there is.
          try connection.read(tenant: scene.a) { (connection) throws(PostgresError) in
            for statement in text.split(separator: "; ") {
              _ = try connection.run(Command(Statement("forbidden", String(statement))))
            }
          }
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
