import Core
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct ListTests {
  @Test func walksExactlyWhatTheFilterSelects() async throws {
    var random = SeededGenerator()
    let times = random.times(120)
    var kept: [Tenant: [Interaction]] = [:]
    try await TestDatabase.withStore { store, database in
      for tenant in [Tenant.a, .b] {
        let given = (0..<350).map { _ in random.interaction(at: random.pick(times)) }
        _ = try await store.record(given, for: tenant).map { try $0.get() }
        let deleted = Set(given.indices.filter { _ in random.chance(0.05) })
        for index in deleted {
          try database.sql("UPDATE parley.interactions SET deleted_at = now() WHERE id = '\(given[index].id)'")
        }
        kept[tenant] = given.indices.filter { !deleted.contains($0) }.map { given[$0] }
      }
      var listed = 0
      for round in 0..<40 {
        let comment = Comment(rawValue: "seed \(random.seed), round \(round)")
        let tenant = random.pick([Tenant.a, .b])
        let filter = round < 2 ? InteractionFilter() : random.filter()
        let expected = kept[tenant]!.filter(filter.selects).sorted { $0.id > $1.id }
        let size = Int.random(in: max(1, expected.count / 25)...200, using: &random)
        let view: InteractionView = random.chance(0.5) ? .basic : .full
        let pages = try await store.pages(filter, size: Int32(size), view: view, of: tenant)

        // Full pages but for the last, and none that is empty unless it is the only one.
        #expect(pages.dropLast().allSatisfy { $0.count == size }, comment)
        #expect(pages.count == max(1, (expected.count + size - 1) / size), comment)
        let walked = pages.flatMap { $0 }
        try #require(walked.map(\.id) == expected.map(\.id), comment)
        for (got, expected) in zip(walked, expected) {
          let shown =
            view == .full ? expected : expected.with { ($0.customerMessage, $0.agentResponse) = ("", "") }
          #expect(got.content.isExactly(shown.content), comment)
          #expect(got.updatedAt != nil, comment)
        }
        listed += walked.count
      }
      #expect(listed > 680, "seed \(random.seed): the filters select hardly anything")
    }
  }

  /// More than a list looks through by itself, whether or not postings know of them yet.
  @Test func walksExactlyWhatTheFilterSelectsFarBack() async throws {
    var random = SeededGenerator()
    let times = random.times(300)
    try await TestDatabase.withStore { store, database in
      var kept: [InteractionID: Interaction] = [:]
      var listed = 0
      for round in 0..<8 {
        let given = (0..<800).map { _ in
          random.interaction(at: random.chance(0.5) ? random.pick(times) : random.time())
        }
        _ = try await store.record(given, for: .a).map { try $0.get() }
        for interaction in given { kept[interaction.id] = interaction }
        if random.chance(0.5) { try await eventually("all is merged") { try database.isMerged() } }
        if random.chance(0.4) {
          let gone = given.filter { _ in random.chance(0.02) }.map(\.id)
          let list = gone.map { "'\($0)'" }.joined(separator: ",")
          try database.sql(
            random.pick([
              "UPDATE parley.interactions SET deleted_at = now() WHERE id IN (\(list))",
              "DELETE FROM parley.interactions WHERE id IN (\(list))",
            ]))
          for id in gone { kept[id] = nil }
          if random.chance(0.5) { try await eventually("all is merged") { try database.isMerged() } }
        }
        for _ in 0..<10 {
          var filter = random.filter()
          if random.chance(0.8) { filter.conversationID = nil }
          let expected = kept.values.filter(filter.selects).sorted { $0.id > $1.id }
          let size = Int.random(in: min(200, max(1, expected.count / 8))...200, using: &random)
          let walked = try await store.pages(filter, size: Int32(size), view: random.pick([.basic, .full]))
            .flatMap { $0 }.map(\.id)
          let comment = Comment(rawValue: "seed \(random.seed), round \(round), \(filter)")
          try #require(walked == expected.map(\.id), comment)
          listed += walked.count
        }
      }
      #expect(listed > 2000, "seed \(random.seed): the filters select hardly anything")
    }
  }

  @Test func looksForRareValuesOnlyWherePostingsSay() async throws {
    let start = Timestamp("2024-05-01T00:00:00.000Z")
    let common = (0..<3000).map { Interaction.sample(at: start + Int64($0 + 100) * 600_000) }
    let rare = (0..<100).map { hour in Interaction.sample(at: start + Int64(hour)) { $0.modelUsed = "rare" } }
    var filter = InteractionFilter()
    filter.modelUsed = "rare"
    try await TestDatabase.withStore { store, database in
      _ = try await store.record(common + rare, for: .a)
      try await eventually("all is merged") { try database.isMerged() }
      let pages = try await store.pages(filter, size: 60, view: .full)
      #expect(pages.map(\.count) == [60, 40])
      try database.sql("DELETE FROM parley.postings WHERE hour <= \(start.milliseconds / 3_600_000)")
      #expect(try await store.pages(filter, size: 60).map(\.count) == [0])
    }
  }

  @Test func neitherSkipsNorRepeatsWhileOthersRecord() async throws {
    var random = SeededGenerator()
    let before = (0..<200).map { _ in random.interaction(at: random.time()) }
    let during = (0..<2000).map { _ in
      random.interaction(at: random.chance(0.5) ? random.time() : SeededGenerator.dataEnd)
    }
    let seed = random.seed
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(before, for: .a).map { try $0.get() }
      let recording = Task {
        var recorded = 0
        for interaction in during where !Task.isCancelled {
          _ = try await store.record(interaction).get()
          recorded += 1
        }
        return recorded
      }
      for size: Int32 in [7, 13, 50] {
        let walked = try await store.pages(size: size).flatMap { $0 }.map(\.id)
        #expect(zip(walked, walked.dropFirst()).allSatisfy { $0 > $1 }, "seed \(seed)")
        #expect(Set(walked).isSuperset(of: before.map(\.id)), "seed \(seed)")
      }
      recording.cancel()
      // It may end with the cancelled call's error; that it recorded meanwhile is what matters.
      _ = try? await recording.value
      #expect(try await store.pages().flatMap { $0 }.count > before.count)
    }
  }

  @Test func endsAPageBeforeItWeighsTooMuch() async throws {
    let text = String(repeating: "x", count: Limits.customerMessageBytesMax)
    let given = (0..<60).map { _ in
      Interaction.sample {
        ($0.customerMessage, $0.agentResponse) = (text, text)
        $0.detectedIntents = [Intent(name: "\u{e9}", confidence: 1)]
      }
    }
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(given, for: .a).map { try $0.get() }
      let pages = try await store.pages()
      #expect(pages.map(\.count) == [23, 23, 14])
      for page in pages {
        #expect(page.reduce(0) { $0 + $1.bytes } <= Limits.pageBytesMax)
        #expect(page.allSatisfy { $0.content.customerMessage == text && $0.content.agentResponse == text })
      }
      #expect(pages.flatMap { $0 }.map(\.id) == given.map(\.id).sorted(by: >))
      // What is not shown has no weight.
      #expect(try await store.pages(view: .basic).map(\.count) == [60])
      #expect(try await store.pages(size: 10).map(\.count) == [10, 10, 10, 10, 10, 10])
    }
  }

  @Test func saysMoreOnlyWhereMoreFollows() async throws {
    let given = (0..<20).map { _ in Interaction.sample() }
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(given, for: .a)
      #expect(try await store.pages(size: 10).map(\.count) == [10, 10])
      #expect(try await store.pages(size: 19).map(\.count) == [19, 1])
      #expect(try await store.pages(size: 20).map(\.count) == [20])
      #expect(try await store.pages(size: 21).map(\.count) == [20])
      var nothing = InteractionFilter()
      nothing.modelUsed = "unheard of"
      #expect(try await store.pages(nothing) == [[]])
    }
  }

  @Test func keepsToTheCursorAndTheTimesTogether() async throws {
    let start = Timestamp("2024-05-01T00:00:00.000Z")
    let given = (0..<10).map { Interaction.sample(at: start + Int64($0)) }
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(given, for: .a)
      var filter = InteractionFilter()
      (filter.startTime, filter.endTime) = (start + 2, start + 8)
      #expect(
        try await store.pages(filter, size: 4).map { $0.map(\.createdAt) }
          == [[7, 6, 5, 4].map { start + $0 }, [3, 2].map { start + $0 }])
    }
  }
}
