import Core
import Postgres

/// The widths and groupings that sums are kept by. Raw values are those of `parley.rollups.grain`.
enum Grain: Int16, CaseIterable {
  case hourDetail = 0
  case dayDetail
  case hourGroup
  case dayGroup
  case hour

  var isDay: Bool { self == .dayDetail || self == .dayGroup }
  var isByBin: Bool { self == .hourDetail || self == .dayDetail }
}

/// One sum: of a tenant, over a time, of a group.
struct RollupKey: Hashable {
  var tenant: TenantKey
  var grain: Grain
  /// In hours since 1970.
  var start: Int32
  var group: StatsGroupKey
  /// -1: over all bins.
  var confidenceBin: Int16

  /// What it is the sum of.
  var hours: Range<Int32> { start..<max(start, start &+ (grain.isDay ? .hoursPerDay : 1)) }

  /// The sum of that grain that this one, of `hourDetail`, is a part of.
  func coarsened(to grain: Grain) -> RollupKey {
    RollupKey(
      tenant: tenant, grain: grain, start: grain.isDay ? start / .hoursPerDay * .hoursPerDay : start,
      group: grain == .hour ? .all : group, confidenceBin: grain.isByBin ? confidenceBin : -1)
  }
}

/// Sums in memory, by key, on their way into `parley.rollups`.
struct Rollups {
  /// Of `hourDetail` alone, of which all others are sums.
  private var details: [RollupKey: Sums] = [:]
  private let plan: MeasurePlan

  init(_ plan: MeasurePlan) {
    self.plan = plan
  }

  mutating func add(_ entry: ChangeEntry, tenant: TenantKey) {
    let key = RollupKey(
      tenant: tenant, grain: .hourDetail, start: entry.hour, group: entry.group, confidenceBin: entry.confidenceBin)
    details[key, default: Sums(plan)].add(entry)
  }

  mutating func add(_ sums: Sums, for key: RollupKey) {
    details[key, default: Sums(plan)].merge(sums)
  }

  mutating func merge(_ other: Rollups) {
    details.merge(other.details) { ours, theirs in
      var sums = ours
      sums.merge(theirs)
      return sums
    }
  }

  var count: Int { details.count }

  /// The sum of everything.
  var total: Sums {
    details.values.reduce(into: Sums(plan)) { $0.merge($1) }
  }

  /// The sums of these grains.
  func cells(_ grains: some Sequence<Grain>) -> [RollupKey: Sums] {
    var cells: [RollupKey: Sums] = [:]
    for (key, sums) in details {
      for grain in grains { cells[key.coarsened(to: grain), default: Sums(plan)].merge(sums) }
    }
    return cells
  }
}

// MARK: In PostgreSQL

extension Statement {
  static let readRollups = Statement("rollups_read", PackageResources.rollups_read_sql)
  static let getRollups = Statement("rollups_get", PackageResources.rollups_get_sql)
  static let getRollupsOfOne = getRollups.aboutOneTenant
  static let putRollups = Statement("rollups_put", PackageResources.rollups_put_sql)
  static let removeRollups = Statement("rollups_remove", PackageResources.rollups_remove_sql)
}

extension Parameters {
  /// The first eight parameters of rollups_get.sql and rollups_put.sql.
  fileprivate mutating func add(_ keys: some Collection<RollupKey>) {
    add(keys.map(\.tenant.rawValue))
    add(keys.map(\.grain.rawValue))
    add(keys.map(\.start))
    add(keys.map(\.group.modelUsed))
    add(keys.map(\.group.messageType))
    add(keys.map(\.group.handoffTriggered))
    add(keys.map(\.group.handoffReason))
    add(keys.map(\.confidenceBin))
  }
}

extension Session {
  /// Adds sums to what is kept, in the transaction under way: where tables are distributed, those of one tenant.
  ///
  /// - Returns: the hours of what is kept and cannot be read, which have to be rebuilt. Damaged sums are overwritten; those
  ///   of a newer format are left as they are.
  func merge(
    _ cells: [RollupKey: Sums], _ plan: MeasurePlan
  ) throws(PostgresError) -> [TenantKey: StaleHours] {
    var stale: [TenantKey: StaleHours] = [:]
    let getRollups: Statement = try isDistributed ? .getRollupsOfOne : .getRollups
    for keys in Array(cells.keys).pieces(of: Limits.keysPerStatement) {
      var sums = keys.map { Optional(cells[$0]!) }
      let kept = try run(
        Command(getRollups) {
          $0.add(keys)
          $0.add(Sums.bytesMax(plan))
        })
      for row in kept {
        let place = Int(try row.int32(0)) - 1
        let bytes = try row.bytes(1)
        do throws(Unreadable) {
          sums[place]?.merge(try Sums(bytes, plan))
        } catch {
          let key = keys[keys.startIndex + place]
          stale[key.tenant, default: StaleHours()].insert(key.hours)
          if error == .newerFormat { sums[place] = nil }
        }
      }
      let written = zip(keys, sums).filter { $0.1 != nil }
      if !written.isEmpty { try put(written.map(\.0), written.map { $0.1! }) }
    }
    return stale
  }

  private func put(_ keys: [RollupKey], _ sums: [Sums]) throws(PostgresError) {
    _ = try run(
      Command(.putRollups) {
        $0.add(keys)
        $0.add(sums.map(\.bytes))
      })
  }
}

extension StatementRunner {
  /// The sums, as they are kept, of several grains and hours, whose places `body` is given: those of one are added up
  /// while PostgreSQL finds the next.
  ///
  /// - Returns: whether that was all; false where one part has more than is read.
  @discardableResult
  func encodedRollups(
    _ wanted: [(grain: Grain, hours: Range<Int32>)], tenant: TenantKey, _ plan: MeasurePlan,
    filter: RollupFilter = .init(), countMax: Int32? = nil,
    _ body: (Int, RollupKey, UnsafeRawBufferPointer) throws(PostgresError) -> Void
  ) throws(PostgresError) -> Bool {
    let reads = wanted.map { grain, hours in
      Command.readRollups(grain, hours, of: tenant, plan, filter: filter, countMax: countMax)
    }
    var isWhole = true
    try pipeline(reads) { (place, rows) throws(PostgresError) in
      if let countMax, rows.count >= countMax { isWhole = false }
      for row in rows {
        try body(place, try RollupKey(row, grain: wanted[place].grain, of: tenant), try row.bytes(6))
      }
    }
    return isWhole
  }
}

extension Command {
  static func readRollups(
    _ grain: Grain, _ hours: Range<Int32>, of tenant: TenantKey, _ plan: MeasurePlan, filter: RollupFilter,
    countMax: Int32?
  ) -> Command {
    Command(.readRollups) {
      $0.add(tenant.rawValue)
      $0.add(grain.rawValue)
      $0.add(hours.lowerBound)
      $0.add(hours.upperBound)
      $0.add(filter)
      $0.add(Sums.bytesMax(plan))
      $0.add(countMax)
    }
  }
}

extension RollupKey {
  /// From a row of rollups_read.sql.
  init(_ row: Row, grain: Grain, of tenant: TenantKey) throws(PostgresError) {
    let group = StatsGroupKey(
      modelUsed: try row.text(1), messageType: try row.text(2), handoffTriggered: try row.bool(3),
      handoffReason: try row.text(4))
    self.init(
      tenant: tenant, grain: grain, start: try row.int32(0), group: group, confidenceBin: try row.int16(5))
  }
}

extension Array {
  /// In order, each of at most so many.
  func pieces(of count: Int) -> [ArraySlice<Element>] {
    stride(from: 0, to: self.count, by: count).map { self[$0..<Swift.min($0 + count, self.count)] }
  }
}
