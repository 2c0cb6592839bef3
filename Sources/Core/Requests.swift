/// A request as a caller sends it, which knows its method, the scope that needs, and the rules it must meet.
public protocol Request: Sendable {
  associatedtype Checked: Sendable

  static var method: MethodName { get }
  static var scope: Scope { get }

  /// The request with every rule checked and every default filled in.
  func checked(tenant: Tenant, now: Timestamp) throws(RPCError) -> Checked
}

/// Records one interaction.
public struct RecordInteraction: Request {
  public static let method = MethodName("RecordInteraction")
  public static let scope = Scope.record

  public var interaction: InteractionDraft
  /// The caller's own id for this request, for callers who cannot make UUIDv7s; or empty.
  public var requestID: String

  public init(interaction: InteractionDraft, requestID: String = "") {
    self.interaction = interaction
    self.requestID = requestID
  }

  public func checked(tenant: Tenant, now: Timestamp) throws(RPCError) -> Interaction {
    try checked(now: now)
  }

  /// These rules are the same for every tenant.
  public func checked(now: Timestamp) throws(RPCError) -> Interaction {
    try interaction.checked(requestID: requestID, now: now, path: "interaction")
  }
}

/// Records many; each meets the rules, or fails, alone.
public struct RecordInteractions: Request {
  public static let method = MethodName("RecordInteractions")
  public static let scope = Scope.record

  /// A draft, or why the bytes at its place could not be read as one.
  public var interactions: [Result<InteractionDraft, RPCError>]

  public init(interactions: [Result<InteractionDraft, RPCError>]) {
    self.interactions = interactions
  }

  public func checked(tenant: Tenant, now: Timestamp) throws(RPCError) -> [Result<Interaction, RPCError>] {
    guard interactions.count <= Limits.batchInteractionsMax else {
      throw .invalid(
        "interactions", "are \(interactions.count); at most \(Limits.batchInteractionsMax) are allowed")
    }
    return interactions.enumerated().map { index, draft in
      draft.flatMap { draft in
        Result { () throws(RPCError) in try draft.checked(now: now, path: "interactions[\(index)]") }
      }
    }
  }
}

/// How much of each interaction a list shows.
public enum InteractionView: Sendable {
  /// Everything but the two texts.
  case basic
  case full
}

/// Lists interactions, newest first.
public struct ListInteractions: Request {
  public static let method = MethodName("ListInteractions")
  public static let scope = Scope.view

  public var filter: InteractionFilter
  /// 0: the default.
  public var pageSize: Int32
  public var pageToken: String
  public var view: InteractionView

  public init(
    filter: InteractionFilter = .init(), pageSize: Int32 = 0, pageToken: String = "", view: InteractionView = .basic
  ) {
    self.filter = filter
    self.pageSize = pageSize
    self.pageToken = pageToken
    self.view = view
  }

  /// A list request that meets every rule.
  public struct Checked: Sendable {
    public var filter: InteractionFilter
    public var pageSize: Int
    /// The last id of the page before.
    public var after: InteractionID?
    public var view: InteractionView
  }

  public func checked(tenant: Tenant, now: Timestamp) throws(RPCError) -> Checked {
    try filter.check()
    guard pageSize >= 0 else { throw .invalid("page_size", "is \(pageSize); it cannot be negative") }
    return Checked(
      filter: filter,
      pageSize: pageSize == 0 ? Limits.pageSizeDefault : min(Int(pageSize), Limits.pageSizeMax),
      after: pageToken.isEmpty ? nil : try PageToken.decode(pageToken, tenant: tenant, filter: filter),
      view: view)
  }
}

/// Gets one interaction.
public struct GetInteraction: Request {
  public static let method = MethodName("GetInteraction")
  public static let scope = Scope.view

  public var id: String

  public init(id: String) {
    self.id = id
  }

  public func checked(tenant: Tenant, now: Timestamp) throws(RPCError) -> InteractionID {
    guard let id = InteractionID(id), id.isVersion7 else {
      throw .invalid("id", "is \(quoted(self.id)); allowed is a UUIDv7 in its 36-character form")
    }
    return id
  }
}

/// The width of the points of a series.
public enum StatsInterval: Sendable {
  case hour
  case day

  public var milliseconds: Int64 { self == .hour ? .millisecondsPerHour : .millisecondsPerDay }
  var pointsMax: Int64 { self == .hour ? Limits.statsHourPointsMax : Limits.statsDayPointsMax }
}

/// Counts, sums and percentiles over what a filter selects.
public struct GetStats: Request {
  public static let method = MethodName("GetStats")
  public static let scope = Scope.view

  public var filter: InteractionFilter
  /// nil: no series.
  public var interval: StatsInterval?

  public init(filter: InteractionFilter = .init(), interval: StatsInterval? = nil) {
    self.filter = filter
    self.interval = interval
  }

  /// A statistics request that meets every rule; the filter's own times are `start` and `end`.
  public struct Checked: Sendable {
    public var filter: InteractionFilter
    public var start: Timestamp
    public var end: Timestamp
    public var interval: StatsInterval?
  }

  public func checked(tenant: Tenant, now: Timestamp) throws(RPCError) -> Checked {
    try filter.check()
    let span = Limits.statsDaysDefault * .millisecondsPerDay
    // The default range ends after the present millisecond, so that what was just recorded is in it.
    let end = filter.endTime ?? filter.startTime.map { min($0 + span, .protobufMax) } ?? now + 1
    let start = filter.startTime ?? max(end - span, .protobufMin)
    if let interval {
      let points = (end.milliseconds - start.milliseconds + interval.milliseconds - 1) / interval.milliseconds
      guard points <= interval.pointsMax else {
        throw .invalid(
          "interval",
          "makes \(points) points of this time range; at most \(interval.pointsMax) are allowed: narrow the range or widen the interval"
        )
      }
    }
    return Checked(filter: filter, start: start, end: end, interval: interval)
  }
}
