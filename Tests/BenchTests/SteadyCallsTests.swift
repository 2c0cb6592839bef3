import Histogram
import Synchronization
import Testing

@testable import Bench

@Suite struct SteadyCallsTests {
  @Test func callsAreDueAtTheirRate() {
    let calls = SteadyCalls(rate: 4, seconds: 1, from: 1000)
    #expect((0..<6).map { _ in calls.next() } == [1000, 250_001_000, 500_001_000, 750_001_000, nil, nil])
  }

  @Test func eachIsMadeByOneOfThoseWhoShareThem() async {
    let calls = SteadyCalls(rate: 1_000_000, seconds: 0.02, from: 0)
    let due = await withTaskGroup(of: [Int64].self) { group in
      for _ in 0..<4 { group.addTask { Array(sequence(state: ()) { _ in calls.next() }) } }
      return await group.reduce(into: []) { $0 += $1 }
    }
    #expect(due.sorted() == (0..<20_000).map { Int64($0) * 1000 })
  }

  /// A hundred calls were due before the first could be made.
  @Test func timesCountFromWhenACallWasDue() {
    let second: Int64 = 1_000_000_000
    let calls = SteadyCalls(rate: 10, seconds: 1000, from: SteadyCalls.now - 10 * second)
    let stop = StopFlag()
    var count = 0
    let times = calls.run(stop) {
      count += 1
      if count == 100 { stop.set() }
    }
    #expect(count == 100 && times.totalCount == 100)
    #expect(times.max >= 10 * second && times.min >= second / 11)
  }

  @Test func nobodyWaitsForACallThatIsNotMade() {
    let calls = SteadyCalls(rate: 1, seconds: 3600, from: SteadyCalls.now + 3600 * 1_000_000_000)
    let stop = StopFlag()
    stop.set()
    #expect(calls.run(stop) {}.totalCount == 0)
    let past = SteadyCalls(rate: 1000, seconds: 1, from: SteadyCalls.now - 2_000_000_000)
    #expect(past.run(StopFlag()) {}.totalCount == 0, "after the end, what is late is not made")
  }
}
