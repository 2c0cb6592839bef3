import Core
import Testing

@testable import RPC

@Suite struct FailureTallyTests {
  let start = ContinuousClock.now
  let kind = FailureTally.Kind(
    method: "RecordInteraction", code: .unavailable, cause: "refused(sqlState: \"53100\"): could not extend file 1")
  var tally = FailureTally()

  @Test mutating func tellsOneKindAtGrowingPausesWithHowManyThereWere() {
    var lines: [(second: Double, others: Int)] = []
    for tenth in 0..<1300 {
      if let others = tally.count(kind, at: start + .milliseconds(100 * tenth)) {
        lines.append((Double(tenth) / 10, others))
      }
    }
    #expect(lines.map(\.second) == [0, 1, 3, 7, 15, 31, 63, 123])
    #expect(lines.map(\.others) == [0, 9, 19, 39, 79, 159, 319, 599])
  }

  @Test mutating func tellsEachKind() {
    #expect(tally.count(kind, at: start) == 0)
    let others = [
      FailureTally.Kind(method: "GetStats", code: .unavailable, cause: "refused(sqlState: \"53100\"): could not"),
      FailureTally.Kind(method: "RecordInteraction", code: .internal, cause: "refused(sqlState: \"53100\"): could not"),
      FailureTally.Kind(method: "RecordInteraction", code: .unavailable, cause: "refused(sqlState: \"57P01\"): could"),
    ]
    for other in others { #expect(tally.count(other, at: start) == 0) }
    let same = FailureTally.Kind(
      method: "RecordInteraction", code: .unavailable, cause: "refused(sqlState: \"53100\"): could not extend file 2")
    #expect(tally.count(same, at: start) == nil)
  }

  @Test mutating func beginsAnewAfterATimeWithoutFailures() {
    for second in 0...10 { _ = tally.count(kind, at: start + .seconds(second)) }
    #expect(tally.count(kind, at: start + .seconds(100)) != nil)
    #expect(tally.count(kind, at: start + .milliseconds(101_001)) == 0)
  }

  @Test mutating func keepsABoundedNumberOfKinds() {
    for number in 0..<10 * Limits.failureKindsMax {
      let kind = FailureTally.Kind(method: "M", code: .internal, cause: "\(number)")
      #expect(tally.count(kind, at: start) == 0)
    }
    #expect(tally.kindCount <= Limits.failureKindsMax)
  }
}
