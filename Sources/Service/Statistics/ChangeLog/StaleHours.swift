import Core

/// Hours of one tenant whose rollups and posting lists are not to be trusted, until they have been rebuilt: their rows
/// answer instead. Kept as ranges that neither touch nor overlap, in order.
///
/// Their number is bounded: past it the nearest are joined, with the hours between them, which then are stale too. That
/// costs time and changes no response.
struct StaleHours: Equatable {
  private(set) var ranges: [Range<Int32>] = []

  private static let rangesMax = 1024

  /// Every hour that an id can be of, to the end of the last day.
  static let everyHour = 0..<(InteractionID(high: .max, low: .max).hour / .hoursPerDay + 1) * .hoursPerDay

  init(_ hours: Range<Int32>...) {
    for hours in hours { insert(hours) }
  }

  var isEmpty: Bool { ranges.isEmpty }

  /// How many there are.
  var count: Int { ranges.reduce(0) { $0 + $1.count } }

  /// From the first to the last.
  var span: Range<Int32>? { ranges.isEmpty ? nil : ranges[0].lowerBound..<ranges[ranges.count - 1].upperBound }

  func contains(_ hour: Int32) -> Bool { !ranges.isEmpty && overlaps(hour..<hour + 1) }

  func overlaps(_ hours: Range<Int32>) -> Bool {
    if ranges.isEmpty || hours.isEmpty { return false }
    let place = firstRange(endingAfter: hours.lowerBound)
    return place < ranges.count && ranges[place].lowerBound < hours.upperBound
  }

  /// Adds some. No interaction can be of hours outside of `everyHour`: those are left out.
  mutating func insert(_ hours: Range<Int32>) {
    let hours = hours.clamped(to: Self.everyHour)
    guard !hours.isEmpty else { return }
    // Those that touch it become one with it.
    let first = firstRange(endingAfter: hours.lowerBound - 1)
    var (joined, end) = (hours, first)
    while end < ranges.count, ranges[end].lowerBound <= hours.upperBound {
      joined = min(joined.lowerBound, ranges[end].lowerBound)..<max(joined.upperBound, ranges[end].upperBound)
      end += 1
    }
    ranges.replaceSubrange(first..<end, with: CollectionOfOne(joined))
    if ranges.count > Self.rangesMax { joinNearest() }
  }

  mutating func formUnion(_ other: StaleHours) {
    for hours in other.ranges { insert(hours) }
  }

  /// Those within some hours.
  func within(_ hours: Range<Int32>) -> [Range<Int32>] {
    ranges.map { $0.clamped(to: hours) }.filter { !$0.isEmpty }
  }

  /// The others within some hours.
  func fresh(within hours: Range<Int32>) -> [Range<Int32>] {
    var fresh: [Range<Int32>] = []
    var next = hours.lowerBound
    for stale in within(hours) {
      if stale.lowerBound > next { fresh.append(next..<stale.lowerBound) }
      next = stale.upperBound
    }
    if next < hours.upperBound { fresh.append(next..<hours.upperBound) }
    return fresh
  }

  /// Those that are left when some have been rebuilt.
  func without(_ hours: Range<Int32>) -> StaleHours {
    var rest = StaleHours()
    for stale in ranges {
      rest.insert(stale.clamped(to: 0..<hours.lowerBound))
      rest.insert(stale.clamped(to: hours.upperBound..<Self.everyHour.upperBound))
    }
    return rest
  }

  private func firstRange(endingAfter hour: Int32) -> Int {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound > hour { high = middle } else { low = middle + 1 }
    }
    return low
  }

  private mutating func joinNearest() {
    func gap(_ place: Int) -> Int32 { ranges[place + 1].lowerBound - ranges[place].upperBound }
    let place = (0..<ranges.count - 1).min { gap($0) < gap($1) }!
    ranges[place] = ranges[place].lowerBound..<ranges[place + 1].upperBound
    ranges.remove(at: place + 1)
  }
}
