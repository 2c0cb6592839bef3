import Core
import Postgres
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct RecordTests {
  @Test func getsWhatWasRecorded() async throws {
    var random = SeededGenerator()
    let given = (0..<200).map { _ in random.interaction(at: random.time()) }
    try await TestDatabase.withStore { store, _ in
      let before = Timestamp.now
      let outcomes = try await store.record(given, for: .a)
      let after = Timestamp.now
      #expect(outcomes == given.map(Outcome.new), "seed \(random.seed)")
      for interaction in given {
        let got = try #require(try await store.interaction(interaction.id, of: .a), "seed \(random.seed)")
        #expect(got.id == interaction.id)
        #expect(
          got.content.isExactly(interaction.content), "seed \(random.seed): \(got) instead of \(interaction)")
        let updatedAt = try #require(got.updatedAt)
        #expect((before...after).contains(updatedAt))
      }
    }
  }

  @Test func keepsTheLargestAndTheSmallest() async throws {
    var largest = InteractionContent()
    largest.conversationID = String(repeating: "c", count: Limits.conversationIDBytesMax)
    largest.customerMessage = String(repeating: "🙂", count: Limits.customerMessageBytesMax / 4)
    largest.agentResponse = String(repeating: "\\", count: Limits.agentResponseBytesMax)
    largest.detectedIntents = (0..<Limits.intentsMax).map {
      Intent(name: String(repeating: "\"", count: Limits.intentNameBytesMax), confidence: Double($0).ulp)
    }
    largest.modelUsed = String(repeating: "m", count: Limits.modelUsedBytesMax)
    largest.contextSize = .max
    largest.processingTimeMilliseconds = .max
    largest.confidenceScore = 1
    largest.handoffTriggered = true
    largest.handoffReason = String(repeating: "r", count: Limits.handoffReasonBytesMax)
    largest.messageType = String(repeating: "t", count: Limits.messageTypeBytesMax)
    largest.promptTokens = .max
    largest.estimatedCostNanos = Limits.costNanosMax
    var smallest = InteractionContent()
    smallest.conversationID = "c"
    smallest.messageType = "t"
    let given = [
      Interaction(id: InteractionID(at: .now + Limits.createdAheadMillisecondsMax), content: largest),
      Interaction(id: InteractionID(at: Timestamp(milliseconds: 0)), content: smallest),
    ]
    try await TestDatabase.withStore { store, _ in
      #expect(try await store.record(given, for: .a) == given.map(Outcome.new))
      for interaction in given {
        let got = try #require(try await store.interaction(interaction.id, of: .a))
        #expect(got.content.isExactly(interaction.content))
        #expect(got.createdAt == interaction.createdAt)
      }
    }
  }

  @Test func recordsTheSameContentOnce() async throws {
    let interaction = Interaction.sample()
    try await TestDatabase.withStore { store, database in
      #expect(try await store.record(interaction) == .new(interaction))
      let first = try await store.interaction(interaction.id, of: .a)
      #expect(try await store.record(interaction) == .already(interaction))
      #expect(try await store.interaction(interaction.id, of: .a) == first)
      #expect(try database.rowCount() == 1)
    }
  }

  @Test func refusesOtherContentAndChangesNothing() async throws {
    let changes: [@Sendable (inout InteractionContent) -> Void] = [
      { $0.conversationID += "!" }, { $0.customerMessage = "" }, { $0.agentResponse += "!" },
      { $0.detectedIntents = [] }, { $0.detectedIntents.reverse() }, { $0.detectedIntents[0].name += "!" },
      { $0.detectedIntents[1].confidence = 0.5 }, { $0.modelUsed = "" }, { $0.contextSize += 1 },
      { $0.processingTimeMilliseconds += 1 }, { $0.confidenceScore = $0.confidenceScore.nextUp },
      { $0.handoffTriggered = false }, { $0.handoffReason = "" }, { $0.messageType = "voice" },
      { $0.promptTokens += 1 }, { $0.completionTokens += 1 }, { $0.estimatedCostNanos += 1 },
    ]
    let interaction = Interaction.sample()
    try await TestDatabase.withStore { store, database in
      _ = try await store.record(interaction)
      let first = try #require(try await store.interaction(interaction.id, of: .a))
      for (index, change) in changes.enumerated() {
        guard case .failure(let error) = try await store.record(interaction.with(change)) else {
          Issue.record("change \(index) was taken for the same content")
          continue
        }
        #expect(error.code == .alreadyExists)
        #expect(error.reason == .interactionConflict)
        #expect(error.message.contains(interaction.id.description))
      }
      #expect(try await store.interaction(interaction.id, of: .a) == first)
      #expect(try database.rowCount() == 1)
    }
  }

  @Test func takesTextsThatOnlyLookAlikeForOtherContent() async throws {
    let composed = Interaction.sample { $0.customerMessage = "caf\u{e9}" }
    let decomposed = composed.with { $0.customerMessage = "cafe\u{301}" }
    try await TestDatabase.withStore { store, _ in
      let outcomes = try await store.record([composed, decomposed], for: .a)
      #expect(outcomes.map(\.reason) == [nil, .interactionConflict])
      #expect(try await store.record(decomposed).reason == .interactionConflict)
      #expect(try await store.record(composed) == .already(composed))
    }
  }

  @Test func takesMinusZeroForZero() async throws {
    let zero = Interaction.sample {
      $0.confidenceScore = 0
      $0.detectedIntents = [Intent(name: "refund", confidence: 0)]
    }
    let minusZero = zero.with {
      $0.confidenceScore = -0.0
      $0.detectedIntents = [Intent(name: "refund", confidence: -0.0)]
    }
    try await TestDatabase.withStore { store, database in
      let first = try await store.record(minusZero)
      #expect(first == .new(zero))
      #expect(try await store.record([zero, minusZero], for: .a) == [zero, zero].map(Outcome.already))
      #expect(try database.rowCount() == 1)
    }
  }

  @Test func answersRepeatsWithinABatch() async throws {
    let (first, second) = (Interaction.sample(), Interaction.sample())
    let other = first.with { $0.agentResponse = "other" }
    try await TestDatabase.withStore { store, database in
      let outcomes = try await store.record([first, first, other, second, first, other], for: .a)
      #expect(outcomes[0...1] == [.new(first), .already(first)])
      #expect(outcomes[2].reason == .interactionConflict)
      #expect(outcomes[3...4] == [.new(second), .already(first)])
      #expect(outcomes[5].reason == .interactionConflict)
      let kept = try #require(try await store.interaction(first.id, of: .a))
      #expect(kept.content == first.content)
      #expect(try database.rowCount() == 2)
    }
  }

  @Test func holdsEachOfABatchAgainstWhatIsThere() async throws {
    let kept = Interaction.sample()
    let other = kept.with { $0.agentResponse = "other" }
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(kept)
      let outcomes = try await store.record([other, kept, other, kept], for: .a)
      #expect(outcomes.map(\.reason) == [.interactionConflict, nil, .interactionConflict, nil])
      #expect([outcomes[1], outcomes[3]] == [.already(kept), .already(kept)])
    }
  }

  /// Nobody can keep the writer busy by repeating one id: it is tried once in the hope that it is new, and then
  /// looked up.
  @Test(.notDistributed(.ownTriggers)) func triesAnIDOnceHoweverOftenItIsRepeated() async throws {
    let kept = Interaction.sample()
    let others = (1...500).map { step in kept.with { $0.contextSize += Int32(step) } }
    try await TestDatabase.withStore { store, database in
      _ = try await store.record(kept)
      try database.sql(
        """
        CREATE SEQUENCE attempts;
        CREATE FUNCTION count_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM nextval('attempts');
          RETURN NEW;
        END $$;
        CREATE TRIGGER count_attempt BEFORE INSERT ON parley.interactions FOR EACH ROW EXECUTE FUNCTION count_attempt();
        """)
      let outcomes = try await store.record(others + [kept], for: .a)
      #expect(outcomes.dropLast().allSatisfy { $0.reason == .interactionConflict })
      #expect(outcomes.last == .already(kept))
      #expect(try database.sql("SELECT last_value, is_called FROM attempts") == [["1", "t"]])
    }
  }

  @Test func answersInTheOrderGiven() async throws {
    var random = SeededGenerator()
    let present = (0..<60).map { _ in random.interaction(at: random.time()) }
    let absent = (0..<60).map { _ in random.interaction(at: random.time()) }
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(present, for: .a)
      let expected: [(Interaction, Outcome?)] =
        absent.map { ($0, .new($0)) } + present[..<30].map { ($0, .already($0)) }
        + present[30...].map { ($0.with { $0.contextSize ^= 1 }, nil) }
      let shuffled = expected.shuffled(using: &random)
      let outcomes = try await store.record(shuffled.map(\.0), for: .a)
      for (outcome, (_, expected)) in zip(outcomes, shuffled) {
        if let expected {
          #expect(outcome == expected, "seed \(random.seed)")
        } else {
          #expect(outcome.reason == .interactionConflict, "seed \(random.seed)")
        }
      }
      #expect(outcomes.count == shuffled.count)
    }
  }

  @Test func recordsNothingWhenGivenNothing() async throws {
    try await TestDatabase.withStore { store, database async throws in
      #expect(try await store.record([], for: .a) == [])
      #expect(try database.rowCount() == 0)
    }
  }

  /// Of all that claim an id at once, one is first; whoever says the same agrees, whoever says other is refused.
  @Test func answersEachOfThousandsAtOnce() async throws {
    var random = SeededGenerator()
    let interactions = (0..<600).map { _ in random.interaction(at: random.time()) }
    var claims = interactions + interactions + interactions.map { $0.with { $0.completionTokens ^= 1 } }
    claims.shuffle(using: &random)
    var calls: [[Interaction]] = []
    while !claims.isEmpty {
      let count = random.chance(0.9) ? 1 : Int.random(in: 2...20, using: &random)
      calls.append(Array(claims.prefix(count)))
      claims.removeFirst(min(count, claims.count))
    }
    let made = calls
    try await TestDatabase.withStore { store, database in
      let answers = await Calls(made.count) { call throws(RPCError) in
        try await store.record(made[call], for: .a)
      }.all()
      let kept = Dictionary(
        uniqueKeysWithValues: try await store.pages().flatMap { $0 }.map { ($0.id, $0.content) })
      var firsts: [InteractionID: Int] = [:]
      for (call, answer) in zip(made, answers) {
        let outcomes = try answer.get()
        try #require(outcomes.count == call.count)
        for (claim, outcome) in zip(call, outcomes) {
          let kept = try #require(kept[claim.id], "seed \(random.seed)")
          switch outcome {
          case .success(let recorded):
            #expect(recorded.id == claim.id, "seed \(random.seed)")
            #expect(kept == claim.content, "seed \(random.seed)")
            if !recorded.alreadyRecorded { firsts[claim.id, default: 0] += 1 }
          case .failure(let error):
            #expect(error.reason == .interactionConflict, "seed \(random.seed)")
            #expect(kept != claim.content, "seed \(random.seed)")
          }
        }
      }
      #expect(firsts == Dictionary(uniqueKeysWithValues: interactions.map { ($0.id, 1) }), "seed \(random.seed)")
      #expect(try database.rowCount() == interactions.count)
    }
  }

  @Test func recordsOnceWhateverStoreIsAsked() async throws {
    var random = SeededGenerator()
    let interactions = (0..<200).map { _ in random.interaction(at: random.time()) }
    let orders = (0..<6).map { _ in interactions.shuffled(using: &random) }
    let seed = random.seed
    try await TestDatabase.withStore { one, database in
      try await database.withStore { other in
        let answers = await Calls(orders.count) { call throws(RPCError) in
          try await (call % 2 == 0 ? one : other).record(orders[call], for: .a)
        }.all()
        var firsts = 0
        for (order, answer) in zip(orders, answers) {
          for (interaction, outcome) in zip(order, try answer.get()) {
            let recorded = try outcome.get()
            #expect(recorded.id == interaction.id, "seed \(seed)")
            firsts += recorded.alreadyRecorded ? 0 : 1
          }
        }
        #expect(firsts == interactions.count, "seed \(seed)")
        #expect(try database.rowCount() == interactions.count)
      }
    }
  }

  @Test func givesATenantOneNumberWhateverStoreIsAsked() async throws {
    try await TestDatabase.withStore { one, database in
      try await database.withStore { other in
        _ = try await Calls(20) { call throws(RPCError) in
          try await (call % 2 == 0 ? one : other).record(.sample(), for: .a)
        }.all().map { try $0.get().get() }
        #expect(try database.sql("SELECT count(*) FROM parley.tenants") == [["1"]])
        #expect(try await one.pages()[0].count == 20)
      }
    }
  }

  @Test func doesNotShowOrRaiseTheDeleted() async throws {
    let (deleted, kept) = (Interaction.sample(), Interaction.sample())
    try await TestDatabase.withStore { store, database in
      _ = try await store.record([deleted, kept], for: .a)
      try database.sql("UPDATE parley.interactions SET deleted_at = now() WHERE id = '\(deleted.id)'")

      #expect(try await store.record(deleted) == .already(deleted))
      #expect(try await store.record(deleted.with { $0.contextSize += 1 }).reason == .interactionConflict)

      #expect(try await store.interaction(deleted.id, of: .a) == nil)
      #expect(try await store.pages().flatMap { $0 }.map(\.id) == [kept.id])
      #expect(try await store.stats().totals.totalInteractions == 1)
      #expect(try database.rowCount("deleted_at IS NOT NULL") == 1)
    }
  }

  @Test func givesItsConnectionsBack() async throws {
    try await TestDatabase.with { database in
      try await database.withStore { store in
        _ = try await store.record(.sample())
        _ = try await store.pages()
        // A writer, the tenant registry, and the rollup job.
        try await eventually("all have come") { try database.session().backends(.owner).count >= 3 }
      }
      try await eventually("no connection of the store is left") {
        try database.session().backends(.owner).isEmpty && database.session().backends(.reader).isEmpty
      }
    }
  }
}
