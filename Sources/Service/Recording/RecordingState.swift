import Core

/// Whether recording works, by what became of the last batches: a full disk or a session that may only read lets every look at
/// the database pass, and fails every batch.
struct RecordingState {
  typealias Instant = ContinuousClock.Instant

  /// The failures since a batch was written.
  private struct Failures {
    var first: Instant
    var last: Instant
    var cause: String
  }

  /// Recording has failed for this long when it counts as broken. It does no longer when nothing has failed for as long, for
  /// whoever heeds health sends no records that could tell.
  private let failingMax: Duration
  private var failures: Failures?

  init(failingMax: Duration) {
    self.failingMax = failingMax
  }

  /// - Parameter failure: why the database could not write any of a batch; nil where it has written some, or refused what
  ///   there was to refuse.
  mutating func ended(_ failure: RPCError?, at now: Instant) {
    guard let failure else {
      failures = nil
      return
    }
    // Failures that are far apart, of a server that hardly records, are not one.
    if let last = failures?.last, now - last > failingMax * 6 { failures = nil }
    failures = Failures(first: failures?.first ?? now, last: now, cause: failure.cause ?? failure.message)
  }

  /// Why recording counts as broken; nil where it does not.
  func fault(at now: Instant) -> String? {
    guard let failures, now - failures.first >= failingMax, now - failures.last < failingMax else { return nil }
    return "no batch has been written for \((now - failures.first).components.seconds) s (\(failures.cause))"
  }
}
