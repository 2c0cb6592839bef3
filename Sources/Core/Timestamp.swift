import Glibc

/// A moment to the millisecond, as milliseconds since 1970-01-01T00:00:00Z. Leap seconds do not exist
/// in it (POSIX time).
public struct Timestamp: Hashable, Comparable, Sendable {
  public var milliseconds: Int64

  public init(milliseconds: Int64) {
    self.milliseconds = milliseconds
  }

  /// How to treat digits finer than a millisecond.
  public enum Rounding: Sendable {
    /// To the millisecond at or before: for the time of an event.
    case down
    /// To the millisecond at or after: for the bounds of a range. An event at a whole millisecond is
    /// at or after a bound exactly when it is at or after the bound rounded up.
    case up
  }

  /// From `google.protobuf.Timestamp`; nil when it breaks that message's own rules (years 0001 to
  /// 9999, 0 to 999,999,999 nanoseconds).
  public init?(seconds: Int64, nanoseconds: Int32, rounding: Rounding) {
    guard (-62_135_596_800...253_402_300_799).contains(seconds), (0...999_999_999).contains(nanoseconds)
    else { return nil }
    let fraction = Int64(rounding == .up ? nanoseconds + 999_999 : nanoseconds) / 1_000_000
    self.milliseconds = min(seconds * 1000 + fraction, Self.protobufMax.milliseconds)
  }

  /// The first and the last moment that a `google.protobuf.Timestamp` can tell.
  static let protobufMin = Timestamp(milliseconds: -62_135_596_800_000)
  static let protobufMax = Timestamp(milliseconds: 253_402_300_799_999)

  /// Whole seconds, rounded towards the past, and the nanoseconds after them. A moment that the message cannot tell, such as
  /// PostgreSQL's infinity, is told as the nearest that it can.
  public var protobuf: (seconds: Int64, nanoseconds: Int32) {
    let told = min(max(self, Self.protobufMin), Self.protobufMax)
    let (seconds, rest) = told.milliseconds.flooredDivision(by: 1000)
    return (seconds, Int32(rest) * 1_000_000)
  }

  /// The machine's clock.
  public static var now: Timestamp {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
  }

  public static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }

  public static func + (time: Timestamp, milliseconds: Int64) -> Timestamp {
    Timestamp(milliseconds: time.milliseconds + milliseconds)
  }

  public static func - (time: Timestamp, milliseconds: Int64) -> Timestamp {
    Timestamp(milliseconds: time.milliseconds - milliseconds)
  }
}

extension Int64 {
  public static var millisecondsPerHour: Int64 { 3_600_000 }
  public static var millisecondsPerDay: Int64 { 86_400_000 }

  /// Division that rounds towards the past, with its never negative remainder.
  func flooredDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }
}
