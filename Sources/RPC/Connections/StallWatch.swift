/// Tells for how long something that should move has not. Looked at from time to time; pure.
struct StallWatch {
  private var moved = 0
  private var stalledSince: ContinuousClock.Instant?

  /// How long nothing has moved though something waits.
  ///
  /// - Parameter moved: grows with whatever moves.
  mutating func stalled(isWaiting: Bool, moved: Int, at now: ContinuousClock.Instant) -> Duration {
    if !isWaiting || moved != self.moved { stalledSince = nil }
    self.moved = moved
    guard isWaiting else { return .zero }
    let since = stalledSince ?? now
    stalledSince = since
    return now - since
  }
}
