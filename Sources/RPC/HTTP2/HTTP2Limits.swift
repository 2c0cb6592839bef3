import Core

/// What an HTTP/2 peer may do.
struct HTTP2Limits {
  var streamsMax = Limits.callsInFlightPerConnectionMax
  var headerListBytesMax = Limits.headerListBytesMax
  /// What the peer may send unasked on a stream, and on the connection.
  var streamWindowBytes = 256 * 1024
  var connectionWindowBytes = 4 * 1024 * 1024
  var controlFramesPerHalfMinuteMax = Limits.controlFramesPerHalfMinuteMax
  var resetsPerHalfMinuteMax = Limits.streamResetsPerHalfMinuteMax
}

/// Frames of a kind that an honest peer sends few of, by half minutes; pure.
struct FrameFlood {
  private let countMax: Int
  private var count = 0
  private var since: ContinuousClock.Instant?

  init(countMax: Int) {
    self.countMax = countMax
  }

  /// - Returns: whether there were too many.
  mutating func add(_ frames: Int, at now: ContinuousClock.Instant) -> Bool {
    guard frames > 0 else { return false }
    if since.map({ now - $0 >= .seconds(30) }) ?? true { (since, count) = (now, 0) }
    count += frames
    return count > countMax
  }
}
