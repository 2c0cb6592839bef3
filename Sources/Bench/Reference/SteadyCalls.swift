import Glibc
import Histogram
import Synchronization

/// Calls that are due at a steady rate, whatever becomes of those before them. Whoever is free takes the one that is
/// due next, so that a slow call delays no other while anybody else is free.
final class SteadyCalls: Sendable {
  private let rate: Double
  private let seconds: Double
  private let start: Int64
  private let takenCount = Atomic<Int>(0)

  /// - Parameter start: by `now`.
  init(rate: Double, seconds: Double, from start: Int64 = SteadyCalls.now) {
    self.rate = rate
    self.seconds = seconds
    self.start = start
  }

  /// In nanoseconds, by a clock that is never set.
  static var now: Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// When no more are due.
  var end: Int64 { start + Int64(seconds * 1_000_000_000) }

  /// When the next call is due; nil after the last. No two callers get the same one.
  func next() -> Int64? {
    let number = takenCount.wrappingAdd(1, ordering: .relaxed).oldValue
    let due = start + Int64(Double(number) * 1_000_000_000 / rate)
    return due < end ? due : nil
  }

  /// Waits for call after call and makes it, until none is due or `stop` is set.
  ///
  /// - Returns: how long after they were due the calls had been made, in nanoseconds.
  func run<Failure: Error>(
    _ stop: StopFlag, _ make: () throws(Failure) -> Void
  ) throws(Failure) -> Histogram<UInt64> {
    Self.sleepExactly()
    var times = Histogram<UInt64>(highestTrackableValue: 3_600_000_000_000)
    while !stop.isSet, Self.now < end, let due = next() {
      Self.sleep(until: due)
      try make()
      times.record(UInt64(max(Self.now - due, 1)))
    }
    return times
  }

  /// Has this thread's sleeps end when they are to. By itself the kernel lets them last up to 50 microseconds longer, so
  /// that several end together.
  private static func sleepExactly() {
    var link = [UInt8](repeating: 0, count: 64)
    let length = link.withUnsafeMutableBytes { readlink("/proc/thread-self", $0.baseAddress!, $0.count) }
    guard length > 0, let thread = String(decoding: link.prefix(length), as: UTF8.self).split(separator: "/").last
    else { return }
    let file = open("/proc/\(thread)/timerslack_ns", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    _ = write(file, "1", 1)
    close(file)
  }

  private static func sleep(until due: Int64) {
    var time = timespec(tv_sec: Int(due / 1_000_000_000), tv_nsec: Int(due % 1_000_000_000))
    while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
  }
}
