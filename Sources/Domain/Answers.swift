/// What became of one interaction that was to be recorded.
public struct Recorded: Hashable, Sendable {
  public var id: InteractionID
  /// It had been recorded before, with the same content.
  public var alreadyRecorded: Bool

  public init(id: InteractionID, alreadyRecorded: Bool) {
    self.id = id
    self.alreadyRecorded = alreadyRecorded
  }

  public var createdAt: Timestamp { id.time }
}

/// One page of a list, newest first.
public struct InteractionPage: Hashable, Sendable {
  public var interactions: [Interaction]
  /// Empty on the last page.
  public var nextPageToken: String

  public init(interactions: [Interaction], nextPageToken: String) {
    self.interactions = interactions
    self.nextPageToken = nextPageToken
  }
}

/// The counts and sums of some interactions. All integers, so that every way to add them up agrees;
/// averages and rates are derived.
public struct Stats: Hashable, Sendable {
  public var totalInteractions: Int64 = 0
  /// US dollars × 10⁻⁹.
  public var totalCostNanos: Int64 = 0
  /// The confidence scores × 10⁶, each rounded to the nearest (ties to even).
  public var confidenceMicros: Int64 = 0
  public var handoffCount: Int64 = 0
  public var processingTimeMilliseconds: Int64 = 0
  /// Nearest rank, in milliseconds.
  public var p50: Int64 = 0
  public var p95: Int64 = 0
  public var p99: Int64 = 0
  public var promptTokens: Int64 = 0
  public var completionTokens: Int64 = 0
  /// A confidence score of at least 0.7.
  public var highConfidenceCount: Int64 = 0
  /// Ten counts: [0, 0.1), [0.1, 0.2) … [0.9, 1.0].
  public var confidenceHistogram = [Int64](repeating: 0, count: 10)

  public init() {}

  // These wrap: nothing that is kept, damaged or written by other programs, ends the process.
  public var lowConfidenceCount: Int64 { totalInteractions &- highConfidenceCount }
  public var totalTokens: Int64 { promptTokens &+ completionTokens }
  public var averageConfidence: Double { mean(confidenceMicros) / 1_000_000 }
  public var handoffRate: Double { mean(handoffCount) }
  public var averageProcessingTimeMilliseconds: Double { mean(processingTimeMilliseconds) }
  public var averageTokens: Double { mean(totalTokens) }

  private func mean(_ sum: Int64) -> Double {
    totalInteractions == 0 ? 0 : Double(sum) / Double(totalInteractions)
  }
}

/// The statistics of the interactions that share a value.
public struct StatsGroup: Hashable, Sendable {
  public var key: String
  public var stats: Stats
  /// Everything beyond the largest groups, together; its key is empty.
  public var isRemainder: Bool

  public init(key: String, stats: Stats, isRemainder: Bool = false) {
    self.key = key
    self.stats = stats
    self.isRemainder = isRemainder
  }
}

/// The statistics of one interval of a series.
public struct StatsPoint: Hashable, Sendable {
  public var start: Timestamp
  public var stats: Stats

  public init(start: Timestamp, stats: Stats) {
    self.start = start
    self.stats = stats
  }
}

/// The answer to `GetStats`.
public struct StatsReport: Hashable, Sendable {
  public var totals = Stats()
  /// Most interactions first, in each list.
  public var byModel: [StatsGroup] = []
  public var byMessageType: [StatsGroup] = []
  public var byHandoffReason: [StatsGroup] = []
  /// Oldest first; only intervals that hold interactions.
  public var series: [StatsPoint] = []
  /// The range spoken of: from `start`, up to and without `end`.
  public var start: Timestamp
  public var end: Timestamp

  public init(start: Timestamp, end: Timestamp) {
    self.start = start
    self.end = end
  }
}
