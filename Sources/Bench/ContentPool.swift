public import Core

/// The contents that records are made of, and in what order.
public struct ContentPool: Sendable {
  enum Order: Sendable {
    /// Any of the common ones; now and then one with a rare value.
    case random(common: Int)
    /// One after the other, and again from the first.
    case inOrder
  }

  public private(set) var contents: [InteractionContent]
  let order: Order
  /// Of each content, which conversation it is a turn of; empty where conversations are made up.
  let conversations: [Int]

  /// Contents of one kind of rare value.
  static let rareCount = 8

  /// Made-up contents.
  public init(seed: UInt64, count: Int = 2000) {
    var generator = InteractionGenerator(seed: seed)
    contents = (0..<count).map { _ in generator.content() }
    for rare in RareValue.allCases {
      contents += (0..<Self.rareCount).map { _ in generator.content(rare: rare) }
    }
    order = .random(common: count)
    conversations = []
  }

  /// Recorded ones, which keep their order and which of them belong to one conversation.
  public init(replaying contents: [InteractionContent]) {
    self.contents = contents
    order = .inOrder
    var numbers: [String: Int] = [:]
    conversations = contents.map { content in
      let number = numbers[content.conversationID] ?? numbers.count
      numbers[content.conversationID] = number
      return number
    }
  }

  /// Made-up contents of measured sizes, in order.
  public init(seed: UInt64, arrivals: Arrivals) {
    var generator = InteractionGenerator(seed: seed)
    contents = arrivals.sizes.map {
      generator.content(contextTokens: $0.contextTokens, generatedTokens: $0.generatedTokens)
    }
    order = .inOrder
    conversations = []
  }

  /// Which content the record of that number has.
  func pick(_ number: Int, _ random: inout SeededRandom) -> Int {
    guard case .random(let common) = order else { return number % contents.count }
    let place = random.index(below: RareValue.oneIn)
    guard place < RareValue.allCases.count else { return random.index(below: common) }
    return common + place * Self.rareCount + random.index(below: Self.rareCount)
  }
}
