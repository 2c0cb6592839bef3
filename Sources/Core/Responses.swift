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
