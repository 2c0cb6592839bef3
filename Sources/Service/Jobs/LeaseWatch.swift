import Logging
import Synchronization

/// Warns where a lease is held elsewhere for so long that no server's work explains it: a session that locked the row, and
/// forgot it, keeps every server from the work. Once it is told, and then at growing pauses while that lasts.
final class LeaseWatch: Sendable {
  private struct Refused {
    var since: Duration
    var last: Duration
    var warnsAfter = LeaseWatch.patience
  }

  /// A run ends far sooner.
  private static let patience = Duration.seconds(60)
  /// Who has not asked for so long has had no work: it starts anew.
  private static let gapMax = Duration.seconds(30)

  private let clock: JobClock
  private let logger: Logger
  private let refused = Mutex<[LeaseRow: Refused]>([:])

  init(clock: JobClock = .machine, logger: Logger) {
    self.clock = clock
    self.logger = logger
  }

  /// A job has asked for the lease.
  func asked(for row: LeaseRow, isElsewhere: Bool) {
    let now = clock.now()
    let held = refused.withLock { refused -> Duration? in
      guard isElsewhere else {
        refused[row] = nil
        return nil
      }
      var entry = refused[row] ?? Refused(since: now, last: now)
      if now - entry.last > Self.gapMax { entry = Refused(since: now, last: now) }
      entry.last = now
      let held = now - entry.since
      let warns = held >= entry.warnsAfter
      if warns { entry.warnsAfter = held * 2 }
      refused[row] = entry
      return warns ? held : nil
    }
    guard let held else { return }
    logger.warning(
      "another session has held a lease for long, and its work is not done meanwhile: see who locks the row in parley.leases (pg_locks), and end that session if it is no server's",
      metadata: ["lease": "\(row.rawValue)", "seconds": "\(held.components.seconds)"])
  }
}
