import Core
import Foundation
import TestSupport
import Testing

@testable import Service

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
