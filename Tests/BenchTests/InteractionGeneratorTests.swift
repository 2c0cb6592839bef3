import Core
import Testing

@testable import Bench

@Suite struct InteractionGeneratorTests {
  @Test func theSameSeedMakesTheSameContents() {
    var (a, b, other) = (
      InteractionGenerator(seed: 7), InteractionGenerator(seed: 7), InteractionGenerator(seed: 8)
    )
    let contents = (0..<50).map { _ in a.content() }
    #expect(contents == (0..<50).map { _ in b.content() })
    #expect(contents != (0..<50).map { _ in other.content() })
  }

  @Test func lengthsAndSharesAreAboutRight() {
    let contents = ContentPool(seed: 1, count: 4000).contents.prefix(4000)
    func median(_ value: (InteractionContent) -> Int) -> Int { contents.map(value).sorted()[contents.count / 2] }
    func share(_ holds: (InteractionContent) -> Bool) -> Double { Double(contents.count(where: holds)) / 4000 }
    #expect((105...135).contains(median { $0.customerMessage.utf8.count }))
    #expect((360...440).contains(median { $0.agentResponse.utf8.count }))
    #expect((700...900).contains(median { Int($0.processingTimeMilliseconds) }))
    #expect((0.77...0.83).contains(share { $0.messageType == "text" }))
    #expect((0.045...0.075).contains(share { $0.handoffTriggered }))
    #expect((0.46...0.54).contains(share { $0.modelUsed == "small-1" }))
    #expect(share { $0.confidenceScore >= 0.7 } > 0.6)
    #expect(contents.allSatisfy { $0.handoffTriggered != $0.handoffReason.isEmpty })
    #expect(contents.allSatisfy { $0.promptTokens > 0 && $0.completionTokens > 0 && $0.estimatedCostNanos > 0 })
  }

  @Test func theLongestTextsAreWithinTheLimits() {
    var generator = InteractionGenerator(seed: 1)
    let content = generator.content(contextTokens: 1_000_000, generatedTokens: 1_000_000)
    #expect(content.agentResponse.utf8.count == Limits.agentResponseBytesMax)
    #expect(content.customerMessage.utf8.count <= Limits.customerMessageBytesMax)
    #expect((content.promptTokens, content.completionTokens) == (1_000_000, 1_000_000))
  }

  @Test(arguments: RareValue.allCases)
  func aRareValueIsThereOnlyWhenAskedFor(rare: RareValue) {
    func has(_ content: InteractionContent) -> Bool {
      switch rare {
      case .model: content.modelUsed == RareValue.modelName
      case .messageType: content.messageType == RareValue.messageTypeName
      case .intent: content.detectedIntents.contains { $0.name == RareValue.intentName }
      case .handoffReason: content.handoffReason == RareValue.handoffReasonName
      case .confidence: content.confidenceScore < RareValue.confidenceBelow
      }
    }
    var generator = InteractionGenerator(seed: 3)
    #expect((0..<1000).allSatisfy { _ in !has(generator.content()) })
    #expect(has(generator.content(rare: rare)))
  }

  @Test func oneRecordInTenThousandHasEachRareValue() {
    let pool = ContentPool(seed: 1, count: 100)
    var random = SeededRandom(seed: 1)
    var counts = [Int](repeating: 0, count: pool.contents.count)
    for number in 0..<1_000_000 { counts[pool.pick(number, &random)] += 1 }
    for rare in RareValue.allCases {
      let start = 100 + rare.rawValue * ContentPool.rareCount
      // 100 expected, within four deviations.
      #expect((60...140).contains(counts[start..<start + ContentPool.rareCount].reduce(0, +)))
    }
  }
}
