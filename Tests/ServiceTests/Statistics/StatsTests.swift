import Core
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct StatsTests {
  /// Compares part by part, so that a failure says which.
  private func expect(
    _ report: StatsReport, equals expected: StatsReport, _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(report.totals == expected.totals, comment, sourceLocation: sourceLocation)
    #expect(report.byModel == expected.byModel, comment, sourceLocation: sourceLocation)
    #expect(report.byMessageType == expected.byMessageType, comment, sourceLocation: sourceLocation)
    #expect(report.byHandoffReason == expected.byHandoffReason, comment, sourceLocation: sourceLocation)
    #expect(report.series == expected.series, comment, sourceLocation: sourceLocation)
    #expect(report.isExactly(expected), comment, sourceLocation: sourceLocation)
  }

  @Test func agreesWithACountInMemory() async throws {
    var random = SeededGenerator()
    let times = random.times(200)
    var kept: [Tenant: [Interaction]] = [:]
    try await TestDatabase.withStore { store, database in
      for tenant in [Tenant.a, .b] {
        let given = (0..<400).map { _ in random.interaction(at: random.pick(times)) }
        _ = try await store.record(given, for: tenant).map { try $0.get() }
        let deleted = given.prefix(20).map { "'\($0.id)'" }.joined(separator: ", ")
        try database.sql("UPDATE parley.interactions SET deleted_at = now() WHERE id IN (\(deleted))")
        kept[tenant] = Array(given.dropFirst(20))
      }
      var counted: Int64 = 0
      for round in 0..<80 {
        let tenant = random.pick([Tenant.a, .b])
        var filter = round < 4 ? InteractionFilter() : random.filter()
        filter.startTime = filter.startTime ?? SeededGenerator.dataStart
        filter.endTime = filter.endTime ?? SeededGenerator.dataEnd
        if filter.startTime! >= filter.endTime! { filter.endTime = filter.startTime! + 1 }
        let query = try GetStats(filter: filter, interval: random.pick([nil, .hour, .day]))
          .checked(tenant: tenant, now: .now)
        let report = try await store.stats(query, of: tenant)
        expect(
          report, equals: StatsReport(of: kept[tenant]!, for: query), "seed \(random.seed), round \(round)")
        counted += report.totals.totalInteractions
      }
      #expect(counted > 1520, "seed \(random.seed): the filters select hardly anything")
    }
  }

  /// The figures written out, beside the model that computes them.
  @Test func countsAsWrittenHere() async throws {
    let time = Timestamp("2024-02-29T23:30:00.000Z")
    func interaction(_ minutes: Int64, _ change: (inout InteractionContent) -> Void) -> Interaction {
      .sample(at: time + minutes * 60_000) {
        $0.handoffTriggered = false
        $0.handoffReason = ""
        change(&$0)
      }
    }
    let given = [
      interaction(0) {
        ($0.modelUsed, $0.confidenceScore, $0.processingTimeMilliseconds) = ("m", 0.25, 10)
        ($0.promptTokens, $0.completionTokens, $0.estimatedCostNanos) = (1, 2, 3)
      },
      interaction(1) {
        ($0.modelUsed, $0.confidenceScore, $0.processingTimeMilliseconds) = ("m", 0.75, 30)
        ($0.promptTokens, $0.completionTokens, $0.estimatedCostNanos) = (10, 20, 30)
        ($0.handoffTriggered, $0.handoffReason, $0.messageType) = (true, "angry", "voice")
      },
      interaction(60) {
        ($0.modelUsed, $0.confidenceScore, $0.processingTimeMilliseconds) = ("n", 1, 20)
        ($0.promptTokens, $0.completionTokens, $0.estimatedCostNanos) = (100, 200, 300)
        $0.handoffTriggered = true
      },
    ]
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (time, time + 3_600_001)
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(given, for: .a)
      let report = try await store.stats(filter, interval: .hour)
      #expect(report.start == time)
      #expect(report.end == time + 3_600_001)
      let totals = report.totals
      #expect(totals.totalInteractions == 3)
      #expect(totals.totalCostNanos == 333)
      #expect(totals.confidenceMicros == 2_000_000)
      #expect(totals.handoffCount == 2)
      #expect(totals.processingTimeMilliseconds == 60)
      #expect((totals.p50, totals.p95, totals.p99) == (20, 30, 30))
      #expect((totals.promptTokens, totals.completionTokens) == (111, 222))
      #expect((totals.highConfidenceCount, totals.lowConfidenceCount) == (2, 1))
      #expect(totals.confidenceHistogram == [0, 0, 1, 0, 0, 0, 0, 1, 0, 1])
      #expect(report.byModel.map(\.key) == ["m", "n"])
      #expect(report.byModel.map(\.stats.totalInteractions) == [2, 1])
      #expect(report.byMessageType.map(\.key) == ["text", "voice"])
      #expect(report.byHandoffReason.map(\.key) == ["", "angry"])
      #expect(report.byHandoffReason.allSatisfy { !$0.isRemainder && $0.stats.totalInteractions == 1 })
      #expect(
        report.series.map(\.start) == [Timestamp("2024-02-29T23:00:00.000Z"), Timestamp("2024-03-01T00:00:00.000Z")])
      #expect(report.series.map(\.stats.totalCostNanos) == [33, 300])
      #expect(
        try await store.stats(filter, interval: .day).series.map(\.start)
          == [Timestamp("2024-02-29T00:00:00.000Z"), Timestamp("2024-03-01T00:00:00.000Z")])
      #expect(try await store.stats(filter).series.isEmpty)
      // The range's end is not in it.
      filter.endTime = time + 3_600_000
      #expect(try await store.stats(filter).totals.totalInteractions == 2)
    }
  }

  @Test func putsEachScoreIntoItsBin() async throws {
    // The least and the greatest of each bin.
    let edges = (0...10).map { Double($0) / 10 }
    let scores = zip(edges, edges.dropFirst()).flatMap { [$0, $1 == 1 ? 1 : $1.nextDown] }
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(scores.map { score in .sample { $0.confidenceScore = score } }, for: .a)
      let totals = try await store.stats().totals
      #expect(totals.confidenceHistogram == Array(repeating: 2, count: 10))
      #expect(totals.highConfidenceCount == 6)
    }
  }

  @Test func roundsConfidenceToTheNearestMillionthAndTiesToEven() async throws {
    let micros: [(Double, Int64)] = [
      (0, 0), (0.000_000_5, 0), (0.000_001_5, 2), (0.000_002_5, 2), (0.000_000_500_000_1, 1), (0.999_999_4, 999_999),
      (0.999_999_6, 1_000_000), (.leastNonzeroMagnitude, 0), (1, 1_000_000),
    ]
    try await TestDatabase.withStore { store, _ in
      for (index, (score, _)) in micros.enumerated() {
        _ = try await store.record(.sample { ($0.confidenceScore, $0.modelUsed) = (score, "\(index)") })
      }
      let groups = try await store.stats().byModel
      #expect(
        Dictionary(uniqueKeysWithValues: groups.map { ($0.key, $0.stats.confidenceMicros) })
          == Dictionary(uniqueKeysWithValues: micros.enumerated().map { ("\($0)", $1.1) }))
    }
  }

  @Test func takesPercentilesByTheNearestRank() async throws {
    try await TestDatabase.withStore { store, _ in
      let given = (1...101).map { rank in
        Interaction.sample {
          $0.processingTimeMilliseconds = Int32(rank)
          $0.modelUsed = rank == 101 ? "alone" : "hundred"
        }
      }
      _ = try await store.record(given.reversed(), for: .a)
      func percentiles(_ stats: Stats) -> [Int64] { [stats.p50, stats.p95, stats.p99] }
      let report = try await store.stats()
      #expect(percentiles(report.totals) == [51, 96, 100])
      #expect(report.byModel.map { percentiles($0.stats) } == [[50, 95, 99], [101, 101, 101]])
    }
  }

  @Test func tellsWhatIsBeyondTheLargestGroupsTogether() async throws {
    // 1005 of each; the first ten twice, so that they are the largest.
    let given = (0..<1015).map { index in
      Interaction.sample {
        $0.modelUsed = "m\(index % 1005)"
        $0.messageType = "t\(index % 1005)"
        $0.handoffReason = "r\(index % 1005)"
        $0.estimatedCostNanos = Int64(index)
      }
    }
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(Array(given[..<1000]), for: .a)
      // As many groups as are told: nothing remains.
      #expect(try await store.stats().byModel.count(where: \.isRemainder) == 0)
      #expect(try await store.stats().byModel.count == 1000)

      _ = try await store.record(Array(given[1000...]), for: .a)
      let query = try GetStats().checked(tenant: .a, now: .now)
      let report = try await store.stats(query, of: .a)
      expect(report, equals: StatsReport(of: given, for: query))
      for groups in [report.byModel, report.byMessageType, report.byHandoffReason] {
        #expect(groups.count == 1000)
        #expect(groups[..<10].allSatisfy { $0.stats.totalInteractions == 2 })
        #expect(groups.map(\.isRemainder) == Array(repeating: false, count: 999) + [true])
        #expect(groups[999].key == "")
        #expect(groups[999].stats.totalInteractions == 6)
        #expect(groups.reduce(0) { $0 + $1.stats.totalCostNanos } == report.totals.totalCostNanos)
        #expect(groups.reduce(0) { $0 + $1.stats.totalInteractions } == report.totals.totalInteractions)
      }
    }
  }

  @Test func refusesToWrapASum() async throws {
    let given = (0..<1025).map { index in
      Interaction.sample {
        $0.estimatedCostNanos = Limits.costNanosMax
        $0.modelUsed = index == 0 ? "one" : "others"
      }
    }
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(given, for: .a).map { try $0.get() }
      let error = await #expect(throws: RPCError.self) { try await store.stats() }
      #expect(error?.code == .outOfRange)
      #expect(error?.reason == .sumOutOfRange)
      // A narrower filter is answered, by the same connection too.
      var filter = InteractionFilter()
      filter.modelUsed = "others"
      #expect(try await store.stats(filter).totals.totalCostNanos == 1024 * Limits.costNanosMax)
    }
  }

  @Test func countsNothingWhereNothingIs() async throws {
    try await TestDatabase.withStore { store, _ in
      _ = try await store.record(.sample())
      var filter = InteractionFilter()
      filter.modelUsed = "unheard of"
      let query = try GetStats(filter: filter, interval: .hour).checked(tenant: .a, now: .now)
      #expect(try await store.stats(query, of: .a) == StatsReport(start: query.start, end: query.end))
    }
  }
}
