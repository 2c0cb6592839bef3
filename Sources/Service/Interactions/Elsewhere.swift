import Core
import Postgres

extension Statement {
  static let firstRollup = Statement("rollups_first", PackageResources.rollups_first_sql)
  static let firstDeltas = Statement("change_records_first", PackageResources.change_records_first_sql)
}

/// What a look at some months leaves out of a range of ids. The rollups and the change log tell whether there is anything,
/// without a look at any other partition.
struct Elsewhere {
  private let months: Months
  private let earlier: Range<Int32>
  private let later: Range<Int32>

  init(_ ids: Range<InteractionID>, besides months: Months) {
    self.months = months
    // Months begin and end with hours.
    let hours = ids.lowerBound.hour..<ids.upperBound.hour + 1
    let seen = months.ids
    let (first, end) = (seen.lowerBound.hour, seen.upperBound.hour)
    earlier = seen.lowerBound > ids.lowerBound ? hours.clamped(to: 0..<first) : 0..<0
    later = seen.upperBound < ids.upperBound ? hours.clamped(to: end..<Int32.max) : 0..<0
  }

  var isEmpty: Bool { earlier.isEmpty && later.isEmpty }
  var hasLater: Bool { !later.isEmpty }

  /// Ask in the snapshot of the look.
  func commands(_ tenant: TenantKey) -> [Command] {
    let log = Command(.firstDeltas) {
      $0.add(tenant.rawValue)
      $0.add(Int32(Self.recordsMax))
      $0.add(Int32(Self.recordBytesMax))
    }
    return [log]
      + [earlier, later].filter { !$0.isEmpty }.map { hours in
        Command(.firstRollup) {
          $0.add(tenant.rawValue)
          $0.add(hours.lowerBound)
          $0.add(hours.upperBound)
        }
      }
  }

  /// Which months to look at next; nil where there is no need.
  ///
  /// - Parameters:
  ///   - answers: what the commands answered.
  ///   - isFull: nothing that is earlier is of interest.
  func wider(_ answers: ArraySlice<Rows>, _ plan: MeasurePlan, isFull: Bool) throws(PostgresError) -> Months? {
    var rollups = answers.dropFirst()
    let waiting = try Self.waitingHours(answers.first!, plan)
    /// The first of those hours that has something.
    func first(_ hours: Range<Int32>) throws(PostgresError) -> Int32? {
      if hours.isEmpty { return nil }
      let merged = try rollups.removeFirst().first { _ in true }?.int32(0)
      return [merged, waiting.within(hours).first?.lowerBound].compactMap { $0 }.min()
    }
    let (firstEarlier, firstLater) = (try first(earlier), try first(later))
    var wider = months
    if firstLater != nil { wider = wider.withoutEnd }
    if let firstEarlier, !isFull { wider = wider.from(firstEarlier) }
    return wider == months ? nil : wider
  }

  /// More change records than these, or longer ones, are not looked through: they may be of any hour.
  private static let recordsMax = 32
  private static let recordBytesMax = 4096
  private static let everyHour = StaleHours(StaleHours.everyHour)

  /// The hours of change records that are not merged yet, and stale hours.
  private static func waitingHours(_ rows: Rows, _ plan: MeasurePlan) throws(PostgresError) -> StaleHours {
    if rows.count > recordsMax { return everyHour }
    var hours = StaleHours()
    for row in rows {
      if !row.isNull(0) {
        let bytes = try row.bytes(0)
        do throws(Unreadable) {
          for entry in try ChangeRecordReader.entries(bytes, plan) { hours.insert(entry.hour..<entry.hour + 1) }
        } catch {
          return everyHour
        }
      } else if !row.isNull(1), !row.isNull(2) {
        hours.insert(try row.hours(1, 2))
      } else {
        return everyHour
      }
    }
    return hours
  }
}
