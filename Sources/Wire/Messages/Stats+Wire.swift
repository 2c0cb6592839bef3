import CMessages
public import Domain

extension GetStats: WireMessage {
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.getStatsRequest.decode(encoded) { (message) throws(RPCError) in
      let interval: StatsInterval? =
        switch message.interval {
        case PARLEY__V1__STATS_INTERVAL__STATS_INTERVAL_UNSPECIFIED: nil
        case PARLEY__V1__STATS_INTERVAL__STATS_INTERVAL_HOUR: .hour
        case PARLEY__V1__STATS_INTERVAL__STATS_INTERVAL_DAY: .day
        default: throw .invalid("interval", "is \(message.interval.rawValue); allowed are HOUR (1) and DAY (2)")
        }
      return GetStats(filter: try InteractionFilter(message.filter), interval: interval)
    }
  }

  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.getStatsRequest)
    message.pointee.filter = arena.filter(filter)
    message.pointee.interval =
      switch interval {
      case nil: PARLEY__V1__STATS_INTERVAL__STATS_INTERVAL_UNSPECIFIED
      case .hour: PARLEY__V1__STATS_INTERVAL__STATS_INTERVAL_HOUR
      case .day: PARLEY__V1__STATS_INTERVAL__STATS_INTERVAL_DAY
      }
    return arena.encode(.getStatsRequest, message)
  }
}

extension StatsReport: WireMessage {
  public init(encoded: [UInt8]) throws(RPCError) {
    self = try MessageKind.getStatsResponse.decode(encoded) { (message) throws(RPCError) in
      guard let start = try timestamp(message.start_time, "start_time"),
        let end = try timestamp(message.end_time, "end_time"), let totals = message.totals
      else { throw .invalid("totals", "or the range is missing") }
      var report = StatsReport(start: start, end: end)
      report.totals = try Stats(totals.pointee)
      report.byModel = try groups(message.n_by_model, message.by_model)
      report.byMessageType = try groups(message.n_by_message_type, message.by_message_type)
      report.byHandoffReason = try groups(message.n_by_handoff_reason, message.by_handoff_reason)
      for point in elements(message.n_series, message.series).map(\.pointee) {
        guard let start = try timestamp(point.start_time, "series.start_time"), let stats = point.stats
        else { throw .invalid("series", "has a point without start or stats") }
        report.series.append(StatsPoint(start: start, stats: try Stats(stats.pointee)))
      }
      return report
    }
  }

  public func encoded() -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.getStatsResponse)
    message.pointee.totals = arena.stats(totals)
    (message.pointee.n_by_model, message.pointee.by_model) = arena.array(byModel, arena.group)
    (message.pointee.n_by_message_type, message.pointee.by_message_type) = arena.array(byMessageType, arena.group)
    (message.pointee.n_by_handoff_reason, message.pointee.by_handoff_reason) =
      arena.array(byHandoffReason, arena.group)
    (message.pointee.n_series, message.pointee.series) = arena.array(series) {
      let point = arena.make(parley__v1__stats_point__init)
      point.pointee.start_time = arena.timestamp($0.start)
      point.pointee.stats = arena.stats($0.stats)
      return Optional(point)
    }
    message.pointee.start_time = arena.timestamp(start)
    message.pointee.end_time = arena.timestamp(end)
    return arena.encode(.getStatsResponse, message)
  }
}

private func groups(
  _ count: Int, _ array: UnsafeMutablePointer<UnsafeMutablePointer<Parley__V1__StatsGroup>?>?
) throws(RPCError) -> [StatsGroup] {
  var groups: [StatsGroup] = []
  for group in elements(count, array).map(\.pointee) {
    guard let stats = group.stats else { throw .invalid("stats", "is missing in a group") }
    groups.append(
      StatsGroup(
        key: try text(group.key, "key"), stats: try Stats(stats.pointee), isRemainder: group.is_remainder != 0))
  }
  return groups
}

extension Stats {
  /// The sums behind the averages travel as averages; they are found again by the counts, which is
  /// exact as long as a sum stays below 2⁵³.
  fileprivate init(_ message: borrowing Parley__V1__Stats) throws(RPCError) {
    self.init()
    totalInteractions = message.total_interactions
    totalCostNanos = message.total_cost_nanos
    let count = Double(message.total_interactions)
    confidenceMicros = try sum(message.avg_confidence * 1_000_000 * count, "avg_confidence")
    handoffCount = message.handoff_count
    processingTimeMilliseconds = try sum(message.avg_processing_time_ms * count, "avg_processing_time_ms")
    p50 = try sum(message.p50_processing_time_ms, "p50_processing_time_ms")
    p95 = try sum(message.p95_processing_time_ms, "p95_processing_time_ms")
    p99 = try sum(message.p99_processing_time_ms, "p99_processing_time_ms")
    promptTokens = message.prompt_tokens
    completionTokens = message.completion_tokens
    highConfidenceCount = message.high_confidence_count
    confidenceHistogram = Array(
      UnsafeBufferPointer(start: message.confidence_histogram, count: message.n_confidence_histogram))
  }
}

private func sum(_ value: Double, _ field: String) throws(RPCError) -> Int64 {
  guard let sum = Int64(exactly: value.rounded()) else { throw .invalid(field, "is \(value), out of range") }
  return sum
}

extension Arena {
  fileprivate func stats(_ stats: Stats) -> UnsafeMutablePointer<Parley__V1__Stats> {
    let message = make(parley__v1__stats__init)
    message.pointee.total_interactions = stats.totalInteractions
    message.pointee.total_cost_nanos = stats.totalCostNanos
    message.pointee.avg_confidence = stats.averageConfidence
    message.pointee.handoff_count = stats.handoffCount
    message.pointee.handoff_rate = stats.handoffRate
    message.pointee.avg_processing_time_ms = stats.averageProcessingTimeMilliseconds
    message.pointee.p50_processing_time_ms = Double(stats.p50)
    message.pointee.p95_processing_time_ms = Double(stats.p95)
    message.pointee.p99_processing_time_ms = Double(stats.p99)
    message.pointee.prompt_tokens = stats.promptTokens
    message.pointee.completion_tokens = stats.completionTokens
    message.pointee.total_tokens = stats.totalTokens
    message.pointee.avg_tokens = stats.averageTokens
    message.pointee.high_confidence_count = stats.highConfidenceCount
    message.pointee.low_confidence_count = stats.lowConfidenceCount
    (message.pointee.n_confidence_histogram, message.pointee.confidence_histogram) =
      array(stats.confidenceHistogram) { $0 }
    return message
  }

  fileprivate func group(_ group: StatsGroup) -> UnsafeMutablePointer<Parley__V1__StatsGroup>? {
    let message = make(parley__v1__stats_group__init)
    message.pointee.key = text(group.key)
    message.pointee.stats = stats(group.stats)
    message.pointee.is_remainder = group.isRemainder ? 1 : 0
    return message
  }
}
