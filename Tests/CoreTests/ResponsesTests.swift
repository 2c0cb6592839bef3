import Core
import Testing

@Suite struct StatsTests {
  @Test func averagesOfNothingAreZero() {
    let stats = Stats()
    #expect(stats.averageConfidence == 0)
    #expect(stats.handoffRate == 0)
    #expect(stats.averageProcessingTimeMilliseconds == 0)
    #expect(stats.averageTokens == 0)
    #expect(stats.lowConfidenceCount == 0)
    #expect(stats.confidenceHistogram == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  }

  @Test func averagesAreTheSumsDividedByTheInteractions() {
    var stats = Stats()
    stats.totalInteractions = 8
    stats.confidenceMicros = 6_000_000
    stats.handoffCount = 2
    stats.processingTimeMilliseconds = 1001
    stats.promptTokens = 700
    stats.completionTokens = 102
    stats.confidenceHistogram = [0, 1, 0, 0, 1, 0, 1, 2, 1, 2]
    #expect(stats.averageConfidence == 0.75)
    #expect(stats.handoffRate == 0.25)
    #expect(stats.averageProcessingTimeMilliseconds == 125.125)
    #expect(stats.totalTokens == 802)
    #expect(stats.averageTokens == 100.25)
    #expect(stats.lowConfidenceCount == 3)
  }

  /// As damage can make them.
  @Test func sumsPastSixtyFourBitsEndNothing() {
    var stats = Stats()
    (stats.promptTokens, stats.completionTokens) = (.max, .max)
    stats.totalInteractions = .min
    stats.confidenceHistogram = [0, 0, 0, 0, 0, 0, 0, .max, 0, 0]
    #expect(stats.totalTokens == -2)
    #expect(stats.lowConfidenceCount == 1)
  }
}

@Suite struct RecordedTests {
  @Test func itsTimeIsThatOfItsID() {
    #expect(Recorded(id: InteractionID(at: now), alreadyRecorded: true).createdAt == now)
  }
}
