import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// Rows that other programs wrote, with more in them than any server lets through: they cost their reader a bounded amount, and
/// nobody else anything.
@Suite(.timeLimit(.minutes(5))) struct BoundedColumnsTests {
  private static let time = Timestamp("2024-05-01T10:00:00.000Z")

  /// Writes rows of tenant a by SQL, each with these columns in place of ordinary ones.
  private func insert(_ count: Int, _ columns: [String: String], at time: Timestamp = time, _ database: TestDatabase)
    throws -> [InteractionID]
  {
    var all = [
      "conversation_id": "'c'", "customer_message": "'m'", "agent_response": "'r'", "intent_names": "'{}'",
      "intent_confidences": "'{}'", "model_used": "'m'", "context_size": "1", "processing_time_ms": "1",
      "confidence_score": "0.5", "handoff_triggered": "true", "handoff_reason": "'h'", "message_type": "'text'",
      "prompt_tokens": "1", "completion_tokens": "1", "estimated_cost_nanos": "1",
    ]
    all.merge(columns) { $1 }
    let ids = (0..<count).map { InteractionID(at: time + Int64($0)) }
    let names = all.keys.sorted()
    for id in ids {
      try database.sql(
        """
        INSERT INTO parley.interactions (tenant, id, \(names.joined(separator: ", ")))
        VALUES (1, '\(id)', \(names.map { all[$0]! }.joined(separator: ", ")))
        """)
    }
    try database.noteChanges(at: time)
    return ids.sorted(by: >)
  }

  /// Has the partition of the rows' month.
  private func withStore(_ body: (PostgresStore, TestDatabase, Interaction) async throws -> Void) async throws {
    try await TestDatabase.withRollupStore { store, database in
      let interaction = Interaction.sample(at: Self.time - 1)
      _ = try await store.record(interaction).get()
      try await body(store, database, interaction)
    }
  }

  @Test func aMillionIntentsStopNobodysCounting() async throws {
    try await withStore { store, database, interaction in
      let names = (1...1_000_000).map { "i\($0)" }.joined(separator: ",")
      let written = try insert(1, ["intent_names": "'{\(names)}'"], database)
      _ = try await store.record(.sample(), for: .b).get()
      try await eventually("all is merged and rebuilt") { try database.isMerged() }
      var filter = InteractionFilter()
      filter.startTime = Self.time
      filter.endTime = Self.time + .millisecondsPerHour
      #expect(try await store.stats(filter).totals.totalInteractions == 1)
      let page = try await store.pages(filter).flatMap { $0 }
      #expect(page.map(\.id) == written)
      #expect(page.flatMap(\.content.detectedIntents) == [])
      filter.intent = "i1"
      #expect(try await store.pages(filter) == [[]])
      #expect(try await store.stats(filter).totals.totalInteractions == 0)
      #expect(try await store.interaction(interaction.id, of: .a)?.content == interaction.content)
      #expect(try await database.differences() == [])
    }
  }

  @Test func theMostIntentsThereCanBeAreRead() async throws {
    try await withStore { store, database, _ in
      let most = Interaction.sample(at: Self.time) { content in
        content.detectedIntents = (0..<Limits.intentsMax).map { place in
          let name = "\(place) " + String(repeating: "n", count: Limits.intentNameBytesMax)
          return Intent(name: String(name.prefix(Limits.intentNameBytesMax)), confidence: Double(place) / 64)
        }
      }
      _ = try await store.record(most).get()
      #expect(try await store.interaction(most.id, of: .a)?.content.isExactly(most.content) == true)
      #expect(try await store.record(most) == .already(most))
      for name in ["0 ", "63 "] {
        var filter = InteractionFilter()
        filter.intent = most.content.detectedIntents.first { $0.name.hasPrefix(name) }?.name
        #expect(try await store.pages(filter).flatMap { $0 }.map(\.id) == [most.id])
      }
    }
  }

  @Test(arguments: ["model_used", "message_type", "handoff_reason"])
  func longTextsThatAreCountedAreCutEverywhereAlike(column: String) async throws {
    try await withStore { store, database, _ in
      let written = try insert(20, [column: "repeat('x', 3000000)"], database)
      try await eventually("all is merged and rebuilt") { try database.isMerged() }
      for view in [InteractionView.basic, .full] {
        let read = try await store.pages(size: 20, view: view).flatMap { $0 }
        #expect(read.prefix(20).map(\.id) == written)
        #expect(read.allSatisfy { $0.bytes < 10_000 })
      }
      var filter = InteractionFilter()
      filter.startTime = Self.time
      filter.endTime = Self.time + .millisecondsPerHour
      let byRollups = try await store.stats(filter)
      #expect(byRollups.totals.totalInteractions == 20)
      let query = try GetStats(filter: filter).checked(tenant: .a, now: .now)
      let byRows = try await database.statsOfRows(query, of: .a)
      let keys = (byRows.byModel + byRows.byMessageType + byRows.byHandoffReason).map(\.key)
      #expect(keys.allSatisfy { $0.utf8.count <= 257 } && keys.contains { $0.hasPrefix("xxx") })
      expect(byRollups, agreesWith: byRows, "\(column)")
      #expect(try await database.differences() == [])
    }
  }

  /// Also where one of them would fill a message.
  @Test func pagesGoOnBehindTextsThatAreLongerThanAMessage() async throws {
    try await withStore { store, database, interaction in
      // (The index keeps conversations shorter.)
      let message = "repeat('\u{1F600}', 2000000)"
      let written = try insert(
        5,
        [
          "customer_message": message, "agent_response": message, "conversation_id": "repeat('\u{1F600}', 20000)",
        ], database)
      for size in [1, 200] as [Int32] {
        let pages = try await store.pages(size: size)
        #expect(pages.flatMap { $0 }.map(\.id) == written + [interaction.id])
        #expect(pages.allSatisfy { $0.reduce(0) { $0 + $1.bytes } <= Limits.pageBytesMax })
      }
      let one = try #require(try await store.interaction(written[0], of: .a))
      #expect(one.bytes < Limits.pageBytesMax)
      #expect(one.content.customerMessage.count == Limits.customerMessageBytesMax + 1)
    }
  }

  @Test func numbersThatNoServerWritesAreReadAsTheNearestThatAre() async throws {
    try await withStore { store, database, _ in
      let scores = ["NaN", "Infinity", "-Infinity", "-5", "5", "0.5"]
      let written = try scores.flatMap { score in
        try insert(
          20,
          [
            "confidence_score": "'\(score)'", "intent_names": "'{i}'", "intent_confidences": "'{\(score)}'",
            "estimated_cost_nanos": score == "5" ? "9223372036854775807" : "-5", "processing_time_ms": "-5",
          ], database)
      }
      for size in [10, 200] as [Int32] {
        for (least, count) in [(0.5, 60), (0.6, 40), (0, 120)] {
          var filter = InteractionFilter()
          (filter.minConfidence, filter.maxConfidence) = (least, 1)
          filter.messageType = "text"
          (filter.startTime, filter.endTime) = (Self.time, Self.time + .millisecondsPerHour)
          let read = try await store.pages(filter, size: size).flatMap { $0 }
          #expect(read.count == count, "pages of \(size), from \(least)")
          #expect(read.allSatisfy { (0...1).contains($0.content.confidenceScore) })
          #expect(read.flatMap(\.content.detectedIntents).allSatisfy { (0...1).contains($0.confidence) })
          #expect(read.allSatisfy { (0...Limits.costNanosMax).contains($0.content.estimatedCostNanos) })
          #expect(read.allSatisfy { $0.content.processingTimeMilliseconds == 0 })
          let stats = try await store.stats(filter)
          #expect(stats.totals.totalInteractions == Int64(count))
          #expect(stats.totals.totalCostNanos == read.reduce(0) { $0 + $1.content.estimatedCostNanos })
        }
      }
      #expect(Set(try await store.pages().flatMap { $0 }.map(\.id)).isSuperset(of: written))
      try await eventually("all is merged and rebuilt") { try database.isMerged() }
      #expect(try await database.differences() == [])
    }
  }

  @Test func intentsThatAreTooManyAreReadAsNoneHoweverShort() async throws {
    try await withStore { store, database, _ in
      let names = (1...100).map { "s\($0)" }.joined(separator: ",")
      let written = try insert(30, ["intent_names": "'{\(names)}'"], database)
      var filter = InteractionFilter()
      for size in [10, 200] as [Int32] {
        filter.intent = nil
        let read = try await store.pages(filter, size: size).flatMap { $0 }.filter { written.contains($0.id) }
        #expect(read.count == 30 && read.allSatisfy { $0.content.detectedIntents.isEmpty })
        filter.intent = "s70"
        #expect(try await store.pages(filter, size: size).flatMap { $0 } == [])
      }
      #expect(try await store.stats(filter).totals.totalInteractions == 0)
    }
  }

  /// What is read of a text that is too long equals nothing that can be sent.
  @Test func aTextThatIsTooLongIsNoRepeatOfItsBeginning() async throws {
    try await withStore { store, database, _ in
      let sent = Interaction.sample(at: Self.time) {
        $0.customerMessage = String(repeating: "x", count: Limits.customerMessageBytesMax)
      }
      _ = try await store.record(sent).get()
      #expect(try await store.record(sent) == .already(sent))
      try database.sql(
        "UPDATE parley.interactions SET customer_message = customer_message || 'x' WHERE id = '\(sent.id)'")
      #expect(try await store.record(sent).reason == .interactionConflict)
    }
  }

  /// PostgreSQL's infinity is no time of a message's.
  @Test func anInfiniteTimeIsToldAsTheLastThereIs() async throws {
    try await withStore { store, database, interaction in
      for (infinity, seconds) in [("infinity", 253_402_300_799), ("-infinity", -62_135_596_800)] as [(String, Int64)] {
        try database.sql("UPDATE parley.interactions SET updated_at = '\(infinity)' WHERE id = '\(interaction.id)'")
        #expect(try await store.interaction(interaction.id, of: .a)?.updatedAt?.protobuf.seconds == seconds)
      }
    }
  }
}
