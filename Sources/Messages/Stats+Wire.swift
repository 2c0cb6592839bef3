import CMessages
public import Core

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
      report.totals = try Stats(totals)
      report.byModel = try groups(message.n_by_model, message.by_model)
      report.byMessageType = try groups(message.n_by_message_type, message.by_message_type)
      report.byHandoffReason = try groups(message.n_by_handoff_reason, message.by_handoff_reason)
      for point in elements(message.n_series, message.series).map(\.pointee) {
        guard let start = try timestamp(point.start_time, "series.start_time"), let stats = point.stats
        else { throw .invalid("series", "has a point without start or stats") }
        report.series.append(StatsPoint(start: start, stats: try Stats(stats)))
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
        key: try text(group.key, "key"), stats: try Stats(stats), isRemainder: group.is_remainder != 0))
  }
  return groups
}

/// Where the fields of statistics are in the C message Stats.
private struct StatsMessage: Sendable {
  static let standard = StatsMessage(StatsField.all)

  private let places: [(field: StatsField, place: MessageField)]

  private init(_ fields: [StatsField]) {
    let stats = MessageField.descriptor(parley__v1__stats__init)
    places = fields.map { ($0, MessageField($0.name, of: stats)) }
  }

  func read(_ message: UnsafeRawPointer, into stats: inout Stats) throws(RPCError) {
    for (field, place) in places {
      guard let set = field.set else { continue }
      let isReal = place.type == PROTOBUF_C_TYPE_DOUBLE
      try set(
        &stats,
        field.isList
          ? .wholes(Array(place.loadArray(of: Int64.self, from: message)))
          : isReal ? .real(place.load(Double.self, from: message)) : .whole(place.load(Int64.self, from: message)))
    }
  }

  func write(_ stats: Stats, to message: UnsafeMutableRawPointer, _ arena: Arena) {
    for (field, place) in places {
      switch field.get(stats) {
      case .whole(let value) where place.type == PROTOBUF_C_TYPE_DOUBLE: place.store(Double(value), in: message)
      case .whole(let value): place.store(value, in: message)
      case .real(let value): place.store(value, in: message)
      case .wholes(let values):
        let (count, elements) = arena.array(values) { $0 }
        place.store(count: count, elements, in: message)
      }
    }
  }
}

extension Stats {
  fileprivate init(_ message: UnsafePointer<Parley__V1__Stats>) throws(RPCError) {
    self.init()
    try StatsMessage.standard.read(message, into: &self)
  }
}

extension Arena {
  fileprivate func stats(_ stats: Stats) -> UnsafeMutablePointer<Parley__V1__Stats> {
    let message = make(parley__v1__stats__init)
    StatsMessage.standard.write(stats, to: message, self)
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
