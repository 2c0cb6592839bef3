/// The pause after a failure before the next try: doubling, with chance in it so that many who failed
/// together do not return together.
package struct Backoff {
  private let least: Duration
  private let most: Duration
  private var pause: Duration
  private var nextTry = ContinuousClock.now

  package init(from least: Duration, to most: Duration) {
    self.least = least
    self.most = most
    self.pause = least
  }

  package var mayTry: Bool { ContinuousClock.now >= nextTry }

  package mutating func failed() {
    nextTry = .now + nextPause()
  }

  /// After another failure, for those who wait by a clock of their own.
  package mutating func nextPause() -> Duration {
    defer { pause = min(pause * 2, most) }
    return pause * Double.random(in: 0.5...1)
  }

  package mutating func succeeded() {
    pause = least
    nextTry = .now
  }
}
