import Testing

@testable import RPC

struct StallWatchTests {
  private let start = ContinuousClock.now

  @Test func stallLastsFromTheFirstLookThatSawItsState() {
    var watch = StallWatch()
    #expect(watch.stalled(isWaiting: true, moved: 7, at: start) == .zero)
    #expect(watch.stalled(isWaiting: true, moved: 7, at: start + .seconds(5)) == .seconds(5))
    #expect(watch.stalled(isWaiting: true, moved: 7, at: start + .seconds(60)) == .seconds(60))
  }

  @Test func movementEndsIt() {
    var watch = StallWatch()
    _ = watch.stalled(isWaiting: true, moved: 7, at: start)
    #expect(watch.stalled(isWaiting: true, moved: 8, at: start + .seconds(59)) == .zero)
    #expect(watch.stalled(isWaiting: true, moved: 8, at: start + .seconds(61)) == .seconds(2))
  }

  @Test func nothingThatWaitsIsNoStall() {
    var watch = StallWatch()
    _ = watch.stalled(isWaiting: true, moved: 0, at: start)
    #expect(watch.stalled(isWaiting: false, moved: 0, at: start + .seconds(90)) == .zero)
    #expect(watch.stalled(isWaiting: true, moved: 0, at: start + .seconds(95)) == .zero)
  }
}
