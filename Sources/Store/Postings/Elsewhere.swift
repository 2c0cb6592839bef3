import Domain
import Postgres

extension Statement {
  static let interactionsElsewhere = Statement("interactions_elsewhere", PackageResources.interactions_elsewhere_sql)
}

/// What a look at some months leaves out of a range of ids. The rollups and the change log tell whether there is anything.
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

  /// Asks in the snapshot of the look.
  func command(_ tenant: TenantKey) -> Command {
    Command(.interactionsElsewhere) {
      $0.add(tenant.rawValue)
      $0.add(earlier.lowerBound)
      $0.add(earlier.upperBound)
      $0.add(later.lowerBound)
      $0.add(later.upperBound)
    }
  }

  /// Which months to look at next; nil where there is no need.
  ///
  /// - Parameter isFull: nothing that is earlier is of interest.
  func wider(_ answer: Rows, isFull: Bool) throws(PostgresError) -> Months? {
    guard let row = answer.first(where: { _ in true }) else {
      throw PostgresError(kind: .unexpectedAnswer, message: "interactions_elsewhere.sql answered with no row")
    }
    var wider = months
    if !later.isEmpty, try row.bool(2) { wider = wider.withoutEnd }
    if !earlier.isEmpty, !isFull {
      if try row.bool(1) {
        wider = wider.from(earlier.lowerBound)
      } else if !row.isNull(0) {
        wider = wider.from(max(try row.int32(0), earlier.lowerBound))
      }
    }
    return wider == months ? nil : wider
  }
}
