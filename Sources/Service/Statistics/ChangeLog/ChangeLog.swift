import Core
import Postgres

extension Statement {
  fileprivate static let addStaleHours = Statement("stale_hours_add", PackageResources.stale_hours_add_sql)
  fileprivate static let addDistributedStaleHours = Statement(
    "stale_hours_add_distributed", PackageResources.stale_hours_add_distributed_sql)
  static let readStaleHours = Statement("stale_hours_read", PackageResources.stale_hours_read_sql)
  static let readChangeRecords = Statement("change_records_read", PackageResources.change_records_read_sql)
}

let copyChangeRecords = sqlText(PackageResources.change_records_copy_sql)

extension Command {
  fileprivate static func readStaleHours(of tenant: TenantKey) -> Command {
    Command(.readStaleHours, isReadRowByRow: true) { $0.add(tenant.rawValue) }
  }

  fileprivate static func readEntries(
    _ range: Range<InteractionID>, _ tenant: TenantKey, by statement: Statement, countMax: Int32?,
    isReadRowByRow: Bool = false
  ) -> Command {
    Command(statement, isReadRowByRow: isReadRowByRow) {
      $0.add(tenant.rawValue)
      $0.add(range.lowerBound)
      $0.add(range.upperBound)
      $0.add(countMax)
    }
  }

  /// Reads what the rows of a range add to sums, however many, one at a time. Sums know no intents, which are left out.
  static func readSums(_ range: Range<InteractionID>, of tenant: TenantKey, _ layout: RecordLayout) -> Command {
    let statement = layout.statements.entriesWithoutIntents(in: Months(covering: range))
    return readEntries(range, tenant, by: statement, countMax: nil, isReadRowByRow: true)
  }
}

/// The state of a tenant's change log, beside the entries in it.
struct ChangeLog {
  /// The hours that have to be rebuilt; every hour where a change record cannot be read, for only the rows tell then
  /// what it was to add.
  private(set) var stale = StaleHours()
  /// Why a change record cannot be read, if one cannot: the last that was met. Then the entries are not the whole.
  private(set) var unreadable: Unreadable?
  private let plan: MeasurePlan

  init(_ plan: MeasurePlan) {
    self.plan = plan
  }

  /// What it is read by, in one snapshot. However long it is, one record at a time is in memory.
  static func commands(of tenant: TenantKey) -> [Command] {
    [
      .readStaleHours(of: tenant),
      Command(.readChangeRecords, isReadRowByRow: true) {
        $0.add(tenant.rawValue)
        $0.add(Int32(Limits.changeRecordBytesMax))
      },
    ]
  }

  /// Takes what the command of that place answered.
  ///
  /// - Parameter body: is given each entry, and the hours that have to be rebuilt.
  mutating func take(
    _ rows: Rows, ofCommand place: Int, _ body: (ChangeEntry, StaleHours) -> Void
  ) throws(PostgresError) {
    for row in rows {
      if place == 0 {
        stale.insert(try row.hours(0, 1))
        continue
      }
      let bytes = try row.bytes(0)
      do throws(Unreadable) {
        for entry in try ChangeRecordReader.entries(bytes, plan) { body(entry, stale) }
      } catch {
        unreadable = error
        stale.insert(StaleHours.everyHour)
      }
    }
  }
}

extension StatementRunner {
  /// Reads a tenant's change log in the snapshot under way.
  func changeLog(
    of tenant: TenantKey, _ layout: RecordLayout, _ body: (ChangeEntry, StaleHours) -> Void
  ) throws(PostgresError) -> ChangeLog {
    var log = ChangeLog(layout.plan)
    try pipeline(ChangeLog.commands(of: tenant)) { (place, rows) throws(PostgresError) in
      try log.take(rows, ofCommand: place, body)
    }
    return log
  }

  /// The hours of a tenant that have to be rebuilt.
  func staleHours(of tenant: TenantKey) throws(PostgresError) -> StaleHours {
    var stale = StaleHours()
    try pipeline([.readStaleHours(of: tenant)]) { (_, rows) throws(PostgresError) in
      for row in rows { stale.insert(try row.hours(0, 1)) }
    }
    return stale
  }

  /// The entries of the rows of that range, oldest first.
  func entries(
    _ range: Range<InteractionID>, tenant: TenantKey, _ layout: RecordLayout, _ body: (ChangeEntry) -> Void
  ) throws(PostgresError) {
    try entryPages(range, tenant: tenant, layout) { (entries) throws(PostgresError) in entries.forEach(body) }
  }

  /// The same, a bounded number at a time, between which `body` may run statements.
  func entryPages(
    _ range: Range<InteractionID>, tenant: TenantKey, _ layout: RecordLayout,
    _ body: ([ChangeEntry]) throws(PostgresError) -> Void
  ) throws(PostgresError) {
    let statement = layout.statements.entries(in: Months(covering: range))
    var next = range.lowerBound
    while next < range.upperBound {
      let rows = try run(
        .readEntries(next..<range.upperBound, tenant, by: statement, countMax: Int32(Limits.entriesPerStatement)))
      var entries: [ChangeEntry] = []
      entries.reserveCapacity(rows.count)
      for row in rows { entries.append(try ChangeEntry(row, layout.plan)) }
      try body(entries)
      guard rows.count == Limits.entriesPerStatement, let last = entries.last?.id else { return }
      next = last.successor
    }
  }
}

extension Session {
  /// Has those hours rebuilt, once the transaction under way commits.
  func add(_ stale: StaleHours, of tenant: TenantKey) throws(PostgresError) {
    if stale.isEmpty { return }
    let statement: Statement = try isDistributed ? .addDistributedStaleHours : .addStaleHours
    _ = try pipeline(
      stale.ranges.map { hours in
        Command(statement) {
          $0.add(tenant.rawValue)
          $0.add(hours.lowerBound)
          $0.add(hours.upperBound)
        }
      })
  }
}

extension Row {
  /// A range whose bounds two columns hold. Other programs can have written any: one that ends before it begins is empty.
  func hours(_ from: Int, _ to: Int) throws(PostgresError) -> Range<Int32> {
    let first = try int32(from)
    return first..<max(first, try int32(to))
  }
}

extension InteractionID {
  fileprivate var successor: InteractionID {
    low == .max ? InteractionID(high: high &+ 1, low: 0) : InteractionID(high: high, low: low + 1)
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

extension Range<Int32> {
  /// The whole days that hold these hours.
  var wholeDays: Range<Int32> {
    let first = lowerBound / .hoursPerDay * .hoursPerDay
    return first..<Swift.max(first, (upperBound + .hoursPerDay - 1) / .hoursPerDay * .hoursPerDay)
  }
}
