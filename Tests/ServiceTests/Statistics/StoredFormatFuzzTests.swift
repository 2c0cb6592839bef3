import Core
import Foundation
import TestSupport
import Testing

@testable import Service

/// Damage to whatever bytes are kept, while a store is at work. More rounds by PARLEY_FUZZ_ROUNDS.
@Suite(.timeLimit(.minutes(60))) struct StoredFormatFuzzTests {
  private static let rounds = ProcessInfo.processInfo.environment["PARLEY_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 8
  private static let seed = ProcessInfo.processInfo.environment["PARLEY_FUZZ_SEED"].flatMap { UInt64($0) }
  private static let start = Timestamp("2024-05-01T00:00:00.000Z")
  private static let end = start + 60 * 3_600_000
  /// The one with the number 1.
  private static let damagedTenant = Tenant.a
  private static let others = [Tenant.b, Tenant("tenant-c")!]

  private func interactions(_ count: Int, _ random: inout SeededGenerator) -> [Interaction] {
    (0..<count).map { _ in
      random.interaction(
        at: Self.start + .random(in: 0..<Self.end.milliseconds - Self.start.milliseconds, using: &random))
    }
  }

  private func query(_ tenant: Tenant, _ random: inout SeededGenerator) throws -> GetStats.Checked {
    var filter = random.chance(0.5) ? InteractionFilter() : random.filter()
    (filter.startTime, filter.endTime) = (
      Self.start + random.pick([0, 1_234_567]), Self.end - random.pick([0, 7_654_321])
    )
    return try GetStats(filter: filter, interval: random.pick([nil, .hour, .day])).checked(tenant: tenant, now: .now)
  }

  /// Cells of that table, of the damaged tenant alone, by what they are found by.
  private func damage(
    _ table: String, _ column: String, _ count: Int, _ database: TestDatabase, _ random: inout SeededGenerator
  ) throws {
    let cells = try database.sql(
      """
      SELECT ctid, encode(\(column), 'hex') FROM parley.\(table)
      WHERE tenant = 1 AND \(column) IS NOT NULL ORDER BY random() LIMIT \(count)
      """)
    for cell in cells {
      var bytes = stride(from: 0, to: cell[1].utf8.count, by: 2).map { place in
        UInt8(cell[1].dropFirst(place).prefix(2), radix: 16)!
      }
      for _ in 0..<random.pick([1, 1, 3]) { bytes = random.damage(bytes) }
      let hex = bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
      try database.sql("UPDATE parley.\(table) SET \(column) = '\\x\(hex)' WHERE tenant = 1 AND ctid = '\(cell[0])'")
    }
  }

  /// What it is told of the damaged tenant is a response, or says that its sums pass 64 bits.
  private func ask(
    _ store: PostgresStore, of tenant: Tenant, _ kept: [Interaction], _ random: inout SeededGenerator,
    _ comment: Comment
  ) async throws {
    let query = try query(tenant, &random)
    var listing = random.filter()
    listing.conversationID = nil
    do throws(RPCError) {
      let report = try await store.stats(query, of: tenant)
      if tenant != Self.damagedTenant { expect(report, agreesWith: StatsReport(of: kept, for: query), comment) }
    } catch {
      if error.reason != .sumOutOfRange || tenant != Self.damagedTenant { throw error }
    }
    let listed = try await store.pages(listing, of: tenant).flatMap { $0 }.map(\.id)
    if tenant != Self.damagedTenant {
      #expect(listed == kept.filter(listing.selects).map(\.id).sorted(by: >), comment)
    }
  }

  @Test func damageStaysWithItsTenantAndIsRepaired() async throws {
    var random = Self.seed.map { SeededGenerator(seed: $0) } ?? SeededGenerator()
    print("StoredFormatFuzzTests: seed \(random.seed), rounds \(Self.rounds)")
    let tenants = [Self.damagedTenant] + Self.others
    var kept: [Tenant: [Interaction]] = [:]
    try await TestDatabase.withRollupStore { store, database in
      for round in 0..<Self.rounds {
        let comment = Comment(rawValue: "seed \(random.seed), round \(round)")
        let lease = try database.session()
        if random.chance(0.5) { try lease.holdRollupLease() } else { try lease.sql("BEGIN") }
        for tenant in tenants {
          let given = interactions(random.pick([5, 40, 120]), &random)
          _ = try await store.record(given, for: tenant).map { try $0.get() }
          kept[tenant, default: []] += given
        }
        try damage("deltas", "additions", random.pick([0, 0, 1]), database, &random)
        try damage("rollups", "sums", random.pick([1, 5, 30]), database, &random)
        try damage("postings", "ids", random.pick([1, 5, 30]), database, &random)
        for tenant in tenants { try await ask(store, of: tenant, kept[tenant]!, &random, comment) }
        try lease.unlock()
        for tenant in tenants { try await ask(store, of: tenant, kept[tenant]!, &random, comment) }
        try await eventually("the others' change records are merged") {
          try database.sql("SELECT FROM parley.deltas WHERE tenant <> 1").isEmpty
        }
      }
      // What looks as if a newer server had written it is for its operator to remove.
      try database.sql(
        """
        DELETE FROM parley.deltas WHERE substr(additions, 1, 1) BETWEEN '\\x01' AND '\\x7f';
        DELETE FROM parley.rollups WHERE substr(sums, 1, 1) <> '\\x01'
        """)
      let verifier = Verifier(url: database.url, logger: .silent)
      var differing: [Verifier.Day] = []
      try await verifier.verify(nil, from: nil, to: nil) { if !$0.agrees { differing.append($0) } }
      for day in differing {
        let repaired = try await verifier.repair(day)
        #expect(repaired.agrees, "seed \(random.seed): \(repaired)")
      }
      #expect(try await database.differences() == [], "seed \(random.seed)")
      for tenant in tenants {
        for _ in 0..<5 {
          let query = try query(tenant, &random)
          expect(
            try await store.stats(query, of: tenant), agreesWith: StatsReport(of: kept[tenant]!, for: query),
            "seed \(random.seed), after the repair")
        }
      }
    }
  }
}
