import Domain

extension Statement {
  static let interactionFacts = Statement("interaction_facts", PackageResources.interaction_facts_sql)
  static let addDelta = Statement("delta_add", PackageResources.delta_add_sql)
  static let readDeltas = Statement("deltas_read", PackageResources.deltas_read_sql)
  static let takeDeltas = Statement("deltas_take", PackageResources.deltas_take_sql)
  static let pendingDeltas = Statement("deltas_pending", PackageResources.deltas_pending_sql)
  static let lockFolding = Statement("fold_lock", PackageResources.fold_lock_sql)
}

let copyDeltas = String(decoding: PackageResources.delta_copy_sql, as: UTF8.self)

/// One delta: facts, or hours to be counted anew.
enum Delta {
  case facts(TenantKey, [Fact])
  case recount(TenantKey, Range<Int32>)

  init(_ row: Row) throws(PostgresError) {
    let tenant = TenantKey(rawValue: try row.int32(0))
    if row.isNull(1) {
      self = .recount(tenant, try row.int32(2)..<(try row.int32(3)))
    } else {
      var facts: [Fact] = []
      try FactsWriter.read(try row.bytes(1)) { facts.append($0) }
      self = .facts(tenant, facts)
    }
  }
}

extension Command {
  /// Has those hours counted anew.
  static func addRecount(_ hours: Range<Int32>, of tenant: TenantKey) -> Command {
    Command(.addDelta) {
      $0.add(tenant.rawValue)
      $0.addNull()
      $0.add(hours.lowerBound)
      $0.add(hours.upperBound)
    }
  }
}

extension PostgresConnection {
  /// The facts of the rows of that range, oldest first.
  func facts(
    _ range: Range<InteractionID>, tenant: TenantKey, _ body: (Fact) -> Void
  ) throws(PostgresError) {
    var next = range.lowerBound
    while next < range.upperBound {
      let rows = try run(
        Command(.interactionFacts) {
          $0.add(tenant.rawValue)
          $0.add(next)
          $0.add(range.upperBound)
          $0.add(Int32(Limits.factsPerStatement))
        })
      for row in rows {
        body(try Fact(row))
        next = try row.id(0).successor
      }
      if rows.count < Limits.factsPerStatement { return }
    }
  }
}

extension InteractionID {
  fileprivate var successor: InteractionID {
    low == .max ? InteractionID(high: high + 1, low: 0) : InteractionID(high: high, low: low + 1)
  }

  /// Hours since 1970. No time is before that.
  var hour: Int32 { Int32(time.milliseconds / .millisecondsPerHour) }

  /// The least id of that hour since 1970.
  init(lowerBoundOfHour hour: Int32) {
    self.init(lowerBound: Timestamp(milliseconds: Int64(hour) * .millisecondsPerHour))
  }
}

extension Int32 {
  static var hoursPerDay: Int32 { 24 }
}
