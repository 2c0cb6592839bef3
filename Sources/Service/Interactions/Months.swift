import Core

/// A month of UTC, which is what a partition holds.
struct Month: Hashable, Comparable, Sendable {
  /// Since January 1970.
  let index: Int64

  /// The first that has a partition of its own; one partition holds what is before.
  static let first = Month(index: 50 * 12)

  init(index: Int64) {
    self.index = index
  }

  init(of id: InteractionID) { self.init(of: id.time) }

  /// The proleptic Gregorian calendar, in years that begin with March, so that the leap day is the last of one. No time
  /// is before 1970.
  init(of time: Timestamp) {
    let day = time.milliseconds / .millisecondsPerDay + Self.daysFromYear0To1970
    let era = day / Self.daysPerEra
    let dayOfEra = day % Self.daysPerEra
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    index = (era * 400 + yearOfEra) * 12 + monthFromMarch + 2 - 1970 * 12
  }

  /// The least id of the month, or a later one.
  var start: InteractionID {
    let monthsFromMarch = index + 1970 * 12 - 2
    let (year, month) = (monthsFromMarch / 12, monthsFromMarch % 12)
    let day = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 - Self.daysFromYear0To1970
    return InteractionID(lowerBound: Timestamp(milliseconds: day * .millisecondsPerDay))
  }

  /// The January of the same year.
  var january: Month { Month(index: index / 12 * 12) }

  static func + (month: Month, count: Int64) -> Month { Month(index: month.index + count) }
  static func - (month: Month, count: Int64) -> Month { Month(index: month.index - count) }
  static func < (a: Month, b: Month) -> Bool { a.index < b.index }

  private static let daysPerEra: Int64 = 146_097
  /// From 1 March of the year 0.
  private static let daysFromYear0To1970: Int64 = 719_468
}

/// The months that a statement reads. Its text names their bounds, so that PostgreSQL plans it for the partitions of these
/// months alone: it neither locks nor opens any other, however many there are. The bounds are a condition like any other,
/// so that a statement is right whatever partitions there are by then.
struct Months: Hashable, Sendable {
  /// nil: from the earliest on.
  private(set) var first: Month?
  /// The one behind the last; nil: without an end.
  private(set) var end: Month?

  static let all = Months(first: nil, end: nil)

  init(first: Month?, end: Month?) {
    self.first = first.flatMap { $0 > .first ? $0 : nil }
    // Partitions are made for the months that interactions may be of. All others stand together, whatever id is asked for.
    self.end = end.map { max($0, .first) }
  }

  /// Those of some ids: whole years where they are more than a few, so that there are not too many different statements.
  init(covering ids: ClosedRange<InteractionID>, now: Timestamp = .now) {
    var (first, end) = (Month(of: ids.lowerBound), Month(of: ids.upperBound) + 1)
    if end.index - first.index > 3 { (first, end) = (first.january, (end + 11).january) }
    let latest = Self.latest(now)
    self.init(first: min(first, latest + 1), end: end > latest + 1 ? nil : end)
  }

  init(covering ids: Range<InteractionID>, now: Timestamp = .now) {
    let last = ids.isEmpty ? ids.lowerBound : ids.upperBound.predecessor
    self.init(covering: ids.lowerBound...last, now: now)
  }

  /// The month of that id and the one before, which hold the newest interactions before it for most tenants.
  init(upTo id: InteractionID, now: Timestamp) {
    let latest = Self.latest(now)
    // One month more, for another server's clock may be ahead of this one's.
    let last = Month(of: id) > latest ? latest + 1 : Month(of: id)
    self.init(first: min(last, latest) - 1, end: last + 1)
  }

  /// The last that a server records interactions of.
  private static func latest(_ now: Timestamp) -> Month { Month(of: now + Limits.createdAheadMillisecondsMax) }

  /// The same from that hour's year on.
  func from(_ hour: Int32) -> Months {
    Months(first: first.map { min($0, Month(of: InteractionID(lowerBoundOfHour: hour)).january) }, end: end)
  }

  /// The same from that month on, if it is earlier; nil: from the earliest on.
  func from(_ month: Month?) -> Months {
    Months(first: first.flatMap { first in month.map { min($0, first) } }, end: end)
  }

  var withoutEnd: Months { Months(first: first, end: nil) }

  /// Every id of theirs; none is greater than the greatest of all.
  var ids: Range<InteractionID> {
    let lower = first?.start ?? InteractionID(high: 0, low: 0)
    return lower..<max(lower, end?.start ?? InteractionID(high: .max, low: .max))
  }

  /// For a WHERE clause that begins with another condition.
  var condition: String {
    [(">=", first), ("<", end)].map { sign, month in month.map { "AND id \(sign) '\($0.start)'" } ?? "" }
      .joined(separator: " ")
  }
}

extension InteractionID {
  /// Of any but the least.
  fileprivate var predecessor: InteractionID {
    low == 0 ? InteractionID(high: high &- 1, low: .max) : InteractionID(high: high, low: low - 1)
  }
}
