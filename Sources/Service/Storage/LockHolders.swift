import Postgres
import Synchronization

extension Statement {
  fileprivate static let lockHolders = Statement("lock_holders", PackageResources.lock_holders_sql)
}

/// Tells for the log who holds the locks that reads wait for. PostgreSQL is asked once a second at most, however many reads
/// fail.
final class LockHolders: Sendable {
  private struct Known {
    var words: String?
    var until: ContinuousClock.Instant?
  }

  private static let pause = Duration.seconds(1)

  private let known = Mutex(Known())

  /// - Returns: nil where nobody holds such a lock by now, or another read is asking.
  func words(on connection: ReaderConnection) async -> String? {
    let isDue = known.withLock { known in
      guard known.until.map({ $0 <= .now }) ?? true else { return false }
      known = Known(until: .now + Self.pause)
      return true
    }
    guard isDue else { return known.withLock(\.words) }
    let holders = await connection.run { (connection) throws(PostgresError) in
      try connection.read(behind: .nobody) { (connection) throws(PostgresError) in
        try connection.run(Command(.lockHolders)).map { (row) throws(PostgresError) in try row.text(0) }
      }
    }
    let words = (try? holders.get()).flatMap { $0.isEmpty ? nil : $0.joined(separator: ", and ") }
    known.withLock { $0.words = words }
    return words
  }
}
