import Core
import TestSupport
import Testing

@testable import Service

@Suite struct StaleHoursTests {
  /// Against a set of hours, which is the same without ranges.
  @Test func areTheHoursThatWereAdded() {
    var random = SeededGenerator()
    for round in 0..<300 {
      let comment = Comment(rawValue: "seed \(random.seed), round \(round)")
      var (stale, model) = (StaleHours(), Set<Int32>())
      for _ in 0..<Int.random(in: 0...12, using: &random) {
        let first = Int32.random(in: 0...60, using: &random)
        let hours = first..<first + .random(in: 0...8, using: &random)
        stale.insert(hours)
        model.formUnion(hours)
      }
      #expect(Set(stale.ranges.flatMap { $0 }) == model && stale.count == model.count, comment)
      #expect(stale.isEmpty == model.isEmpty && stale.span?.lowerBound == model.min(), comment)
      // In order, with an hour between each and the next.
      #expect(zip(stale.ranges, stale.ranges.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound }, comment)
      #expect((0..<80).allSatisfy { stale.contains($0) == model.contains($0) }, comment)

      let first = Int32.random(in: 0...60, using: &random)
      let hours = first..<first + .random(in: 0...20, using: &random)
      #expect(stale.overlaps(hours) == !model.isDisjoint(with: hours), comment)
      #expect(stale.within(hours).flatMap { $0 } == hours.filter(model.contains), comment)
      #expect(stale.fresh(within: hours).flatMap { $0 } == hours.filter { !model.contains($0) }, comment)
      #expect(stale.without(hours).ranges.flatMap { $0 } == model.subtracting(hours).sorted(), comment)
    }
  }

  @Test func takeInNoHourThatNothingCanBeOf() {
    var stale = StaleHours()
    stale.insert(Int32.min..<(-5))
    stale.insert(Int32.max - 1..<Int32.max)
    #expect(stale.isEmpty)
    stale.insert(Int32.min..<Int32.max)
    #expect(stale.ranges == [StaleHours.everyHour])
    #expect(StaleHours.everyHour.upperBound % 24 == 0)
  }

  @Test func areBoundedInNumberAndLoseNone() {
    var random = SeededGenerator()
    var (stale, added) = (StaleHours(), Set<Int32>())
    for _ in 0..<5000 {
      let hour = Int32.random(in: 0..<1_000_000, using: &random)
      stale.insert(hour..<hour + 1)
      added.insert(hour)
    }
    #expect(stale.ranges.count <= 1024)
    #expect(added.allSatisfy(stale.contains), "seed \(random.seed)")
  }
}
