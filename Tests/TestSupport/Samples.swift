public import Core

/// A source of chance that can be run again: print its seed where a test fails.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
  public let seed: UInt64
  private var state: UInt64

  public init(seed: UInt64 = .random(in: .min ... .max)) {
    self.seed = seed
    state = seed
  }

  /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}

extension InteractionDraft {
  /// A draft that meets every rule, with everything in it.
  public static func sample(at time: Timestamp = .now) -> InteractionDraft {
    var draft = InteractionDraft()
    draft.createdAt = time
    draft.content.conversationID = "conversation"
    draft.content.customerMessage = "Where is my parcel? ✈️"
    draft.content.agentResponse = "On its way."
    draft.content.detectedIntents = [Intent(name: "track", confidence: 0.9), Intent(name: "greet", confidence: 0.25)]
    draft.content.modelUsed = "gpt-4o"
    draft.content.contextSize = 1500
    draft.content.processingTimeMilliseconds = 250
    draft.content.confidenceScore = 0.7123456789
    draft.content.handoffTriggered = true
    draft.content.handoffReason = "asked for a person"
    draft.content.promptTokens = 1400
    draft.content.completionTokens = 60
    draft.content.estimatedCostNanos = 4_125_001
    return draft
  }
}

extension Claims {
  /// Of a tenant, with every scope.
  public static func all(of tenant: String) -> Claims {
    Claims(tenant: Tenant(tenant)!, scopes: Set(Scope.allCases.map(\.rawValue)))
  }
}

extension Result {
  /// Of a failure, or nil.
  public var error: Failure? {
    if case .failure(let error) = self { error } else { nil }
  }
}
