import Core

/// Which failures are worth a line of the log. The first of a kind is; those after it are counted, and told with the next line,
/// after pauses that grow: a database that is away fails every call for the same reason.
struct FailureTally {
  typealias Instant = ContinuousClock.Instant

  struct Kind: Hashable {
    var method: String
    var code: RPCError.Code
    /// What the cause begins with. The rest may be another each time.
    var cause: Substring

    init(method: String, code: RPCError.Code, cause: String) {
      self.method = method
      self.code = code
      self.cause = cause.prefix(40)
    }
  }

  private struct Told {
    var nextLine: Instant
    var pause: Duration
    var untoldCount = 0
  }

  private static let pauseMin = Duration.seconds(1)
  private static let pauseMax = Duration.seconds(Limits.repeatedFailurePauseSecondsMax)

  private var kinds: [Kind: Told] = [:]

  var kindCount: Int { kinds.count }

  /// Counts a failure.
  ///
  /// - Returns: how many of its kind have failed since the last line, beside this one; nil where it gets no line.
  mutating func count(_ kind: Kind, at now: Instant) -> Int? {
    guard var told = kinds[kind] else {
      if kinds.count >= Limits.failureKindsMax { kinds.removeAll() }
      kinds[kind] = Told(nextLine: now + Self.pauseMin, pause: Self.pauseMin)
      return 0
    }
    guard now >= told.nextLine else {
      kinds[kind]!.untoldCount += 1
      return nil
    }
    let untoldCount = told.untoldCount
    // After a pause without failures it begins anew.
    told.pause = now - told.nextLine > told.pause ? Self.pauseMin : min(told.pause * 2, Self.pauseMax)
    (told.nextLine, told.untoldCount) = (now + told.pause, 0)
    kinds[kind] = told
    return untoldCount
  }
}
