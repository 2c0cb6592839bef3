/// An intent detected in a customer's message.
public struct Intent: Hashable, Sendable {
  public var name: String
  /// From 0 to 1.
  public var confidence: Double

  public init(name: String, confidence: Double) {
    self.name = name
    self.confidence = confidence
  }

  public static func == (a: Intent, b: Intent) -> Bool {
    a.confidence == b.confidence && a.name.isExactly(b.name)
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(confidence)
  }
}

/// Everything about an interaction but its identity: what a retry must repeat to be the same. Each property has an entry in
/// `fields`.
public struct InteractionContent: Hashable, Sendable {
  public var conversationID = ""
  public var customerMessage = ""
  public var agentResponse = ""
  public var detectedIntents: [Intent] = []
  public var modelUsed = ""
  /// In tokens.
  public var contextSize: Int32 = 0
  public var processingTimeMilliseconds: Int32 = 0
  /// From 0 to 1.
  public var confidenceScore: Double = 0
  public var handoffTriggered = false
  public var handoffReason = ""
  public var messageType = ""
  public var promptTokens: Int32 = 0
  public var completionTokens: Int32 = 0
  /// US dollars × 10⁻⁹.
  public var estimatedCostNanos: Int64 = 0

  public init() {}

  public static func == (a: InteractionContent, b: InteractionContent) -> Bool {
    a.withFields { a in b.withFields { b in fields.allSatisfy { $0.isEqual(a, b) } } }
  }

  public func hash(into hasher: inout Hasher) {
    for byte in conversationID.utf8 { hasher.combine(byte) }
    hasher.combine(estimatedCostNanos)
  }
}

/// A recorded interaction, or one that meets every rule and may be. Its time is the id's.
public struct Interaction: Hashable, Sendable {
  /// A content holds many references. Copies of an interaction share one place for it, and count one reference each.
  @usableFromInline
  final class Storage: Sendable {
    @usableFromInline let content: InteractionContent

    init(_ content: InteractionContent) {
      self.content = content
    }
  }

  public var id: InteractionID
  @usableFromInline var storage: Storage
  /// When the server last wrote it; nil until it has.
  public var updatedAt: Timestamp?

  public init(id: InteractionID, content: InteractionContent, updatedAt: Timestamp? = nil) {
    self.id = id
    self.storage = Storage(content)
    self.updatedAt = updatedAt
  }

  public var content: InteractionContent {
    @inlinable _read { yield storage.content }
    set { storage = Storage(newValue) }
  }

  public static func == (a: Interaction, b: Interaction) -> Bool {
    a.id == b.id && a.updatedAt == b.updatedAt && a.content == b.content
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(id)
    hasher.combine(updatedAt)
    hasher.combine(content)
  }

  public var createdAt: Timestamp { id.time }

  /// What it weighs in queues and pages: its texts, and an allowance for all else. Never less than
  /// its size on the wire.
  public var bytes: Int { content.bytes }
}

extension InteractionContent {
  fileprivate var bytes: Int {
    var bytes = 512
    withFields { content in
      for text in Self.texts { bytes += text.read(content) { $0.utf8.count } }
    }
    return detectedIntents.reduce(bytes) { $0 + $1.name.utf8.count + 32 }
  }

  /// `prompt + completion`. Validation keeps the sum within 32 bits; of what other programs wrote into a row it is the
  /// nearest that fits.
  public var totalTokens: Int32 { Int32(clamping: Int64(promptTokens) + Int64(completionTokens)) }
}

/// An interaction as a caller sends it, before any rule was checked.
public struct InteractionDraft: Hashable, Sendable {
  /// A UUIDv7, or empty.
  public var id = ""
  public var createdAt: Timestamp?
  public var content = InteractionContent()
  /// 0, or prompt + completion.
  public var totalTokens: Int32 = 0

  public init() {}

  /// The draft that records `interaction` again.
  public init(_ interaction: Interaction) {
    self.id = interaction.id.description
    self.createdAt = interaction.createdAt
    self.content = interaction.content
  }
}
