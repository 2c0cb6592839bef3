import TestSupport
import Testing

@testable import Postgres
@testable import Service

@Suite(.timeLimit(.minutes(5))) struct ReadPlanTests {
  /// A scan of one tenant would keep the processors of the others busy.
  @Test func noReadTakesParallelWorkers() async throws {
    let command = Command(
      Statement("workers", "SELECT current_setting('max_parallel_workers_per_gather')"))
    try await RowSecurityTests.Scene.with { scene async throws in
      for plan in ReadPlan.allCases {
        let setting = try await scene.database.reader().run { (connection) throws(PostgresError) in
          try connection.read([command], tenant: scene.a, plan: plan)[0].map { (row) throws(PostgresError) in
            try row.text(0)
          }
        }.get()
        #expect(setting == ["0"], "\(plan)")
      }
    }
  }

  /// PostgreSQL would take far longer for that than for the rows.
  @Test func noReadByKeysIsCompiled() async throws {
    try await RowSecurityTests.Scene.with { scene async throws in
      let queries = RowSecurityTests.Query.all(for: scene.shared)
      for query in queries {
        let explain = Command(Statement("explain", "EXPLAIN \(query.statement.text)")) {
          query.fill(&$0, scene.a.key)
        }
        let plan = try await scene.database.reader().run { (connection) throws(PostgresError) in
          try connection.read([explain], tenant: scene.a, plan: .keyed)[0].map { (row) throws(PostgresError) in
            try row.text(0)
          }
        }.get()
        #expect(!plan.isEmpty && !plan.contains("JIT:"), "\(query.statement.name)")
      }
    }
  }
}
