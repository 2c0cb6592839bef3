public import Core

/// Makes up what agents and customers say, the same for the same seed.
///
/// Lengths and times are log-normal, models, types, intents and reasons skewed, confidence high; token
/// counts and costs follow from the lengths. None of it has a rare value unless asked for.
public struct InteractionGenerator: Sendable {
  private var random: SeededRandom

  public init(seed: UInt64) {
    random = SeededRandom(seed: seed)
  }

  /// An interaction's content; its conversation is for others to choose.
  ///
  /// - Parameter rare: the one rare value it has.
  public mutating func content(rare: RareValue? = nil) -> InteractionContent {
    let customerBytes = bytes(median: 120, sigma: 0.8, max: Limits.customerMessageBytesMax)
    let agentBytes = bytes(median: 400, sigma: 0.7, max: Limits.agentResponseBytesMax)
    return content(
      customerBytes: customerBytes, agentBytes: agentBytes,
      promptTokens: Int32(tokens(customerBytes) + random.integer(in: 300...3000)),
      completionTokens: Int32(tokens(agentBytes)), rare: rare)
  }

  /// An interaction's content whose token counts were measured elsewhere: the agent's text has the length
  /// of its tokens, the customer's is at most as long as the context's.
  mutating func content(contextTokens: Int32, generatedTokens: Int32) -> InteractionContent {
    let customerBytes = min(
      bytes(median: 120, sigma: 0.8, max: Limits.customerMessageBytesMax), Int(contextTokens) * Self.bytesPerToken)
    return content(
      customerBytes: customerBytes,
      agentBytes: min(Int(generatedTokens) * Self.bytesPerToken, Limits.agentResponseBytesMax),
      promptTokens: contextTokens, completionTokens: generatedTokens, rare: nil)
  }

  private mutating func content(
    customerBytes: Int, agentBytes: Int, promptTokens: Int32, completionTokens: Int32, rare: RareValue?
  ) -> InteractionContent {
    var content = InteractionContent()
    content.customerMessage = text(bytes: customerBytes)
    content.agentResponse = text(bytes: agentBytes)
    content.detectedIntents = intents(isRare: rare == .intent)
    let model = Self.models[Self.modelShares.pick(&random)]
    content.modelUsed = rare == .model ? RareValue.modelName : model.name
    content.contextSize = promptTokens
    content.promptTokens = promptTokens
    content.completionTokens = completionTokens
    content.estimatedCostNanos =
      Int64(promptTokens) * model.promptNanos + Int64(completionTokens) * model.completionNanos
    content.processingTimeMilliseconds = Int32(min(random.logNormal(median: 800, sigma: 0.6), 120_000))
    content.confidenceScore = rare == .confidence ? confidence(in: 0..<RareValue.confidenceBelow) : confidence()
    let type = Self.types[Self.typeShares.pick(&random)]
    content.messageType = rare == .messageType ? RareValue.messageTypeName : type
    content.handoffTriggered = random.unit() < 0.06 || rare == .handoffReason
    if content.handoffTriggered {
      let reason = Self.reasons[Self.reasonShares.pick(&random)]
      content.handoffReason = rare == .handoffReason ? RareValue.handoffReasonName : reason
    }
    return content
  }

  // MARK: Parts

  private static let bytesPerToken = 4

  private func tokens(_ bytes: Int) -> Int { bytes / Self.bytesPerToken + 1 }

  private mutating func bytes(median: Double, sigma: Double, max limit: Int) -> Int {
    max(min(Int(random.logNormal(median: median, sigma: sigma)), limit), 2)
  }

  private mutating func text(bytes: Int) -> String {
    var text: [UInt8] = []
    text.reserveCapacity(bytes + 16)
    while text.count < bytes {
      if !text.isEmpty { text.append(UInt8(ascii: " ")) }
      text.append(contentsOf: Self.words[random.index(below: Self.words.count)].utf8)
    }
    text.removeSubrange(bytes...)
    return String(decoding: text, as: UTF8.self)
  }

  private mutating func intents(isRare: Bool) -> [Intent] {
    var names = (0..<random.integer(in: 0...2)).map { _ in Self.intents[Self.intentShares.pick(&random)] }
    if isRare { names.insert(RareValue.intentName, at: 0) }
    return names.enumerated().filter { !names[..<$0.offset].contains($0.element) }.map {
      Intent(name: $0.element, confidence: rounded(0.5 + random.unit() / 2))
    }
  }

  /// Mostly above 0.7; never so low that it is rare.
  private mutating func confidence() -> Double {
    let unit = random.unit()
    return rounded(max(1 - unit * unit * unit, RareValue.confidenceBelow + 0.005))
  }

  private mutating func confidence(in range: Range<Double>) -> Double {
    range.lowerBound + random.unit() * (range.upperBound - range.lowerBound)
  }

  private func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }
}

extension InteractionGenerator {
  /// Names with the cost of a token in nano-dollars.
  static let models: [(name: String, promptNanos: Int64, completionNanos: Int64)] = [
    ("small-1", 150, 600), ("large-1", 2500, 10_000), ("small-2", 100, 400), ("large-2", 3000, 15_000),
    ("medium-1", 800, 4000),
  ]
  private static let modelShares = Shares([50, 25, 15, 7, 3])
  static let types = ["text", "voice", "email"]
  private static let typeShares = Shares([80, 14, 6])
  static let reasons = [
    "asked for a person", "low confidence", "payment dispute", "repeated failure", "policy exception", "upset customer",
  ]
  /// What most of those that were handed over have.
  public static var commonReason: String { reasons[0] }
  private static let reasonShares = Shares.zipf(6)
  static let intents = [
    "track_order", "refund", "change_booking", "cancel_order", "billing_question", "reset_password", "update_address",
    "delivery_delay", "product_question", "complaint", "warranty", "return_item", "invoice_copy", "discount_code",
    "upgrade_plan", "downgrade_plan", "close_account", "open_account", "lost_baggage", "seat_selection",
    "loyalty_points",
    "store_hours", "technical_issue", "installation_help", "price_match", "gift_card", "subscription_pause", "late_fee",
    "fraud_report", "feedback",
  ]
  /// What more interactions have than any other.
  public static var commonIntent: String { intents[0] }
  private static let intentShares = Shares.zipf(30)
  private static let words = [
    "the", "order", "is", "on", "its", "way", "and", "should", "arrive", "tomorrow", "please", "your", "account", "we",
    "have", "refund", "you", "can", "I", "help", "with", "that", "booking", "number", "was", "not", "delivered", "to",
    "address", "customer", "flight", "change", "date", "thank", "for", "patience", "let", "me", "check", "details",
    "payment", "card", "invoice", "a", "moment", "sorry", "about", "delay", "package", "status", "email", "confirm",
    "would", "like", "agent", "service", "price", "item", "return", "within", "thirty", "days", "of", "purchase",
  ]
}
