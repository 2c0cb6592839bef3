import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// Whether two percentiles are as near as those of rollups promise.
func isNear(_ a: Int64, _ b: Int64) -> Bool {
  Double(abs(a - b)) <= Double(max(a, b)) * TimeHistogram.relativeErrorMax
}

/// Equal to the last unit, but for percentiles, which are as near as they promise.
func expect(_ report: StatsReport, agreesWith other: StatsReport, _ comment: Comment) {
  func parts(_ report: StatsReport) -> [(key: String, stats: Stats)] {
    [("totals", report.totals)]
      + (report.byModel + report.byMessageType + report.byHandoffReason).map {
        ("\($0.key) \($0.isRemainder)", $0.stats)
      }
      + report.series.map { ("\($0.start.milliseconds)", $0.stats) }
  }
  let (ours, theirs) = (parts(report), parts(other))
  #expect(ours.map { Array($0.key.utf8) } == theirs.map { Array($0.key.utf8) }, comment)
  for ((key, our), (_, their)) in zip(ours, theirs) {
    #expect(isNear(our.p50, their.p50) && isNear(our.p95, their.p95) && isNear(our.p99, their.p99), comment)
    var exact = our
    (exact.p50, exact.p95, exact.p99) = (their.p50, their.p95, their.p99)
    #expect(exact == their, "\(key): \(comment)")
  }
  #expect((report.start, report.end) == (other.start, other.end), comment)
}

extension TestDatabase {
  /// Runs `body` with a store that reads rows only where rollups do not reach.
  static func withRollupStore(_ body: (PostgresStore, TestDatabase) async throws -> Void) async throws {
    try await with { database in
      try database.registerTenants()
      let store = PostgresStore(.init(url: database.url), exactStatsInteractionsMax: 0, logger: .silent)
      let running = Task { await store.run() }
      let result: Result<Void, any Error>
      do { result = .success(try await body(store, database)) } catch { result = .failure(error) }
      store.close()
      await running.value
      try result.get()
    }
  }

  /// Runs `body` as a reader of the tenant.
  func reading<R: Sendable>(
    as tenant: Tenant, _ body: @Sendable (ReadTransaction, TenantKey) throws(PostgresError) -> R
  ) async throws -> R {
    let tenant = try numbered(tenant)
    return try await reader().run { (connection) throws(PostgresError) in
      try connection.read(tenant: tenant, plan: .keyed) { (connection) throws(PostgresError) in
        try body(connection, tenant.key)
      }
    }.get()
  }

  /// What the rows say.
  func statsOfRows(_ query: GetStats.Checked, of tenant: Tenant) async throws -> StatsReport {
    try await reading(as: tenant) { (connection, key) throws(PostgresError) in
      try connection.statsOfRows(query, tenant: key, .standard)
    }
  }

  /// Every day that does not agree with its rows, with what differs.
  func differences(of tenant: Tenant? = nil) async throws -> [String] {
    var differences: [String] = []
    try await Verifier(url: url, logger: .silent).verify(tenant, from: nil, to: nil) { day in
      differences += day.differences.map { "\(day.tenant) \($0.time.milliseconds): \($0.what)" }
      if day.waitingHours > 0 { differences.append("\(day.tenant) \(day.start.milliseconds): stale hours") }
    }
    return differences
  }
}

extension DatabaseSession {
  /// Keeps every rollup job from its work, until `unlock()`.
  func holdRollupLease() throws {
    try sql("BEGIN; SELECT FROM parley.leases WHERE name = 'rollups' FOR UPDATE")
  }
}
