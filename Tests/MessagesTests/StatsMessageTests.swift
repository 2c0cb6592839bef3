import Core
import Messages
import TestSupport
import Testing

@Suite struct GetStatsMessageTests {
  @Test(
    arguments: [([], nil), (field(2, varint: 0), nil), (field(2, varint: 1), .hour), (field(2, varint: 2), .day)]
      as [([UInt8], StatsInterval?)])
  func theIntervalIsThatOfTheSchema(bytes: [UInt8], interval: StatsInterval?) throws {
    #expect(try GetStats(encoded: bytes).interval == interval)
    #expect(try GetStats(encoded: GetStats(interval: interval).encoded()).interval == interval)
  }

  @Test(arguments: [3, -1, Int64(Int32.max)]) func anUnknownIntervalIsRefused(interval: Int64) {
    let error = #expect(throws: RPCError.self) { _ = try GetStats(encoded: field(2, varint: interval)) }
    #expect(error?.violations.map(\.field) == ["interval"])
    #expect(error?.message.contains("allowed are HOUR (1) and DAY (2)") == true)
  }

  @Test func anyRequestComesBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<300 {
      let sent = GetStats(filter: chance.filter(), interval: [nil, .hour, .day].randomElement(using: &chance)!)
      let read = try GetStats(encoded: sent.encoded())
      #expect(read.filter == sent.filter, "seed \(chance.seed)")
      #expect(read.interval == sent.interval, "seed \(chance.seed)")
    }
  }
}

@Suite struct StatsReportMessageTests {
  static let stats: Stats = {
    var stats = Stats()
    stats.totalInteractions = 8
    stats.totalCostNanos = 2
    stats.confidenceMicros = 6_000_000
    stats.handoffCount = 4
    stats.processingTimeMilliseconds = 1001
    stats.p50 = 7
    stats.p95 = 8
    stats.p99 = 9
    stats.promptTokens = 700
    stats.completionTokens = 102
    stats.confidenceHistogram = [0, 1, 2, 3, 4, 5, 6, 7, 8, 300]
    return stats
  }()

  static let statsBytes: [UInt8] =
    field(1, varint: 8)
    + field(2, varint: 2)
    + field(3, double: 0.75)
    + field(4, varint: 4)
    + field(5, double: 0.5)
    + field(6, double: 125.125)
    + field(7, double: 7)
    + field(8, double: 8)
    + field(9, double: 9)
    + field(10, varint: 700)
    + field(11, varint: 102)
    + field(12, varint: 802)
    + field(13, double: 100.25)
    + field(14, varint: 315)
    + field(15, varint: -307)
    + field(16, bytes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 0xac, 0x02])

  @Test func anAnswerHasTheFieldNumbersOfTheSchema() throws {
    var report = StatsReport(start: Timestamp(milliseconds: 1000), end: Timestamp(milliseconds: 3000))
    report.totals = Self.stats
    report.byModel = [
      StatsGroup(key: "m", stats: Self.stats), StatsGroup(key: "", stats: Self.stats, isRemainder: true),
    ]
    report.byMessageType = [StatsGroup(key: "t", stats: Self.stats)]
    report.byHandoffReason = [StatsGroup(key: "r", stats: Self.stats)]
    report.series = [StatsPoint(start: Timestamp(milliseconds: 2000), stats: Self.stats)]

    let group = field(2, bytes: Self.statsBytes)
    let bytes =
      field(1, bytes: Self.statsBytes)
      + field(2, bytes: field(1, text: "m") + group)
      + field(2, bytes: group + field(3, varint: 1))
      + field(3, bytes: field(1, text: "t") + group)
      + field(4, bytes: field(1, text: "r") + group)
      + field(5, bytes: field(1, bytes: field(1, varint: 2)) + group)
      + field(6, bytes: field(1, varint: 1))
      + field(7, bytes: field(1, varint: 3))
    #expect(report.encoded() == bytes)
    #expect(try StatsReport(encoded: bytes) == report)
  }

  /// The averages give the sums back, as long as these stay below 2⁵⁰.
  @Test func anyReportComesBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<200 {
      let report = chance.report()
      #expect(try StatsReport(encoded: report.encoded()) == report, "seed \(chance.seed)")
    }
  }

  @Test func aHistogramThatIsNotPackedIsRead() throws {
    let unpacked = (1...10).flatMap { field(16, varint: $0) }
    let bytes = field(1, bytes: unpacked) + field(6, bytes: []) + field(7, bytes: [])
    #expect(try StatsReport(encoded: bytes).totals.confidenceHistogram == Array(1...10))
  }

  @Test(arguments: [Double.nan, .infinity, 1e300, -1e300]) func anAverageThatNoSumHasIsRefused(average: Double) {
    for number in [3, 6, 7, 8, 9] as [UInt64] {
      let stats = field(1, varint: 1) + field(number, double: average)
      let bytes = field(1, bytes: stats) + field(6, bytes: []) + field(7, bytes: [])
      #expect(throws: RPCError.self) { _ = try StatsReport(encoded: bytes) }
    }
  }

  @Test(arguments: [[], field(1, bytes: []), field(6, bytes: []) + field(7, bytes: [])])
  func anAnswerWithoutTotalsOrRangeIsNone(bytes: [UInt8]) {
    #expect(throws: RPCError.self) { _ = try StatsReport(encoded: bytes) }
  }

  @Test func theLargestAnswerFitsAFrame() {
    var stats = Stats()
    stats.totalInteractions = .max
    stats.totalCostNanos = .max
    stats.confidenceMicros = .max
    stats.handoffCount = .max
    stats.processingTimeMilliseconds = .max
    (stats.p50, stats.p95, stats.p99) = (1, 1, 1)
    stats.promptTokens = .max / 2
    stats.completionTokens = .max / 2
    stats.confidenceHistogram = [Int64](repeating: .max, count: 10)
    let groups = { (bytes: Int) in
      [StatsGroup](
        repeating: StatsGroup(key: String(repeating: "x", count: bytes), stats: stats, isRemainder: true),
        count: Limits.statsGroupsMax)
    }
    let last = Timestamp(milliseconds: 253_402_300_799_999)
    var report = StatsReport(start: last, end: last)
    report.totals = stats
    report.byModel = groups(Limits.modelUsedBytesMax)
    report.byMessageType = groups(Limits.messageTypeBytesMax)
    report.byHandoffReason = groups(Limits.handoffReasonBytesMax)
    let points = max(Limits.statsHourPointsMax, Limits.statsDayPointsMax) + 1
    report.series = [StatsPoint](repeating: StatsPoint(start: last, stats: stats), count: Int(points))
    #expect(Envelope.frame(.success(report.encoded()), stream: .max).count <= Limits.frameBytesMax)
  }
}
