/// The time that jobs go by: the machine's, or one that tests move.
struct JobClock: Sendable {
  /// Since the clock was made.
  let now: @Sendable () -> Duration
  let sleep: @Sendable (Duration) async throws -> Void

  static var machine: JobClock { JobClock(ContinuousClock()) }

  init(_ clock: some Clock<Duration>) {
    let start = clock.now
    now = { start.duration(to: clock.now) }
    sleep = { try await clock.sleep(for: $0) }
  }
}
