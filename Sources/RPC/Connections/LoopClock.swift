import NIOCore

/// The time as an event loop has it, which tests move.
struct LoopClock {
  let loop: any EventLoop
  private let start: (loop: NIODeadline, clock: ContinuousClock.Instant)

  init(_ loop: any EventLoop) {
    self.loop = loop
    self.start = (loop.now, .now)
  }

  var now: ContinuousClock.Instant { start.clock + .nanoseconds((loop.now - start.loop).nanoseconds) }
}
