public import Core
import Messages

/// What can be measured of the service.
public enum BenchOperation: Int, CaseIterable, Sendable {
  case record
  case get
  case list
  case stats

  public var name: String { "\(self)" }
}

/// What is to be called, with everything prepared that can be.
public struct Workload: Sendable {
  /// A caller: a tenant, its token, and what of its own it asks for.
  public struct Caller: Sendable {
    public var token: String
    /// For `get`.
    public var ids: [InteractionID]
    /// For `list`, encoded; one of them at random.
    public var lists: [[UInt8]]
    /// For `stats`, encoded.
    public var stats: [[UInt8]]

    public init(token: String, ids: [InteractionID] = [], lists: [[UInt8]] = [], stats: [[UInt8]] = []) {
      self.token = token
      self.ids = ids
      self.lists = lists
      self.stats = stats
    }
  }

  /// Spreads the times of `count` records evenly over the time before `end`.
  public struct Span: Sendable {
    public var milliseconds: Int64
    public var count: Int
    public var end: Timestamp

    public init(milliseconds: Int64, count: Int, end: Timestamp) {
      self.milliseconds = milliseconds
      self.count = count
      self.end = end
    }

    func time(of number: Int) -> Timestamp {
      end - milliseconds + Int64((Double(milliseconds) * Double(number) / Double(count)).rounded(.down))
    }
  }

  public var callers: [Caller]
  public var shares: Shares
  /// The operations' shares of the calls.
  public var mix: [BenchOperation: Double]
  public var templates: RecordTemplates
  public var stream: RecordStream
  /// Records in one call.
  public var batch: Int
  public var span: Span?
  public var seed: UInt64

  /// - Parameter pool: what is recorded; needed only where the mix records.
  public init(
    callers: [Caller], shares: Shares, mix: [BenchOperation: Double], pool: ContentPool? = nil, batch: Int = 1,
    span: Span? = nil, seed: UInt64, freshness: UInt64 = 0
  ) {
    self.callers = callers
    self.shares = shares
    self.mix = mix
    self.batch = batch
    self.span = span
    self.seed = seed
    let pool = pool ?? ContentPool(seed: seed, count: 1)
    templates = RecordTemplates(pool.contents)
    stream = RecordStream(pool: pool, tenants: shares, tenantCount: callers.count, seed: seed, freshness: freshness)
  }

  func method(_ operation: BenchOperation) -> MethodName {
    switch operation {
    case .record: batch == 1 ? RecordInteraction.method : RecordInteractions.method
    case .get: GetInteraction.method
    case .list: ListInteractions.method
    case .stats: GetStats.method
    }
  }
}
