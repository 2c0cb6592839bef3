import Core
import Postgres
import Synchronization

extension Statement {
  fileprivate static let ensurePartition = Statement("partition_ensure", PackageResources.partition_ensure_sql)
  fileprivate static let missingPartitions = Statement("partitions_missing", PackageResources.partitions_missing_sql)
  fileprivate static let lookAtPartitions = Statement("partitions_look", PackageResources.partitions_look_sql)
}

/// Which partitions there were, when somebody last looked: how a page is read fast, not whether it is right.
struct KnownPartitions: Equatable {
  /// nil: nobody has looked yet.
  var count: Int?
  /// Some are of months that nobody can record into.
  var areFarAhead = false
}

/// Knows which partitions are there, and makes those that calls find missing, by a connection as the tables' owner.
/// `PartitionJob` makes the others.
final class PartitionManager: Sendable {
  private struct State {
    /// Days, as counted from 1970, whose partition is there.
    var days: Set<Int64> = []
    var known = KnownPartitions()
    /// No partition is made before, for what that takes is locked.
    var partitionsDue = Duration.zero
    var partitionBackoff = Backoff(from: .seconds(1), to: .seconds(5))
  }

  private let connection: OwnerConnection
  /// How long a call waits for what others have locked.
  private let lockMax: Duration
  private let clock: JobClock
  private let state = Mutex(State())

  init(
    _ connection: OwnerConnection, lockMax: Duration = .milliseconds(Limits.recordLockMillisecondsMax),
    clock: JobClock = .machine
  ) {
    self.connection = connection
    self.lockMax = lockMax
    self.clock = clock
  }

  /// Partitions of these times are looked for again: somebody dropped one.
  func forgetPartitions(for times: some Sequence<Timestamp>) {
    let days = times.map(\.day)
    state.withLock { $0.days.subtract(days) }
  }

  var known: KnownPartitions { state.withLock { $0.known } }

  func haveLooked(_ found: KnownPartitions) { state.withLock { $0.known = found } }

  /// The days of these times, as counted from 1970, whose partition is not known to be there.
  func daysWithoutPartition(for times: some Sequence<Timestamp>) -> Set<Int64> {
    let days = Set(times.map(\.day))
    return state.withLock { days.subtracting($0.days) }
  }

  func rememberPartitions(ofDays days: Set<Int64>) { state.withLock { $0.days.formUnion(days) } }

  /// Makes sure that a partition holds each of these times.
  ///
  /// - Returns: of each day, as counted from 1970, whose partition is not there all the same, why.
  nonisolated(nonsending) func ensurePartitions(for times: some Sequence<Timestamp>) async -> [Int64: WriteFailure] {
    let days = daysWithoutPartition(for: times)
    guard !days.isEmpty else { return [:] }
    let made = await connection.runRepeatable { [self] (connection) throws(PostgresError) in
      try makePartitions(ofDays: days, on: connection)
    }
    switch made {
    case .success(let failed):
      rememberPartitions(ofDays: days.subtracting(failed.keys))
      return failed
    case .failure(let error): return Dictionary(uniqueKeysWithValues: days.map { ($0, WriteFailure(error)) })
    }
  }

  /// The days without one, and why. What is locked for one partition is locked for all of them, so after one that waited in
  /// vain no other is tried for a while.
  private func makePartitions(
    ofDays days: Set<Int64>, on connection: Session
  ) throws(PostgresError) -> [Int64: WriteFailure] {
    var failed: [Int64: WriteFailure] = [:]
    for day in try connection.daysWithoutPartition(among: days) {
      guard state.withLock({ $0.partitionsDue <= clock.now() }) else {
        failed[day] = WriteFailure(putOff: "what a new partition takes")
        continue
      }
      do throws(PostgresError) {
        try connection.ensurePartition(ofDay: day, lockMax: lockMax)
        state.withLock { $0.partitionBackoff.succeeded() }
      } catch {
        guard error.isLockTimeout else { throw error }
        state.withLock { $0.partitionsDue = clock.now() + $0.partitionBackoff.nextPause() }
        failed[day] = WriteFailure(error)
      }
    }
    return failed
  }
}

extension Timestamp {
  /// As counted from 1970.
  var day: Int64 { milliseconds / .millisecondsPerDay }
}

extension Session {
  /// Makes the partition that holds a day, as counted from 1970, if it is not there.
  func ensurePartition(ofDay day: Int64, lockMax: Duration) throws(PostgresError) {
    _ = try run(
      Command(.ensurePartition) {
        $0.add(day * .millisecondsPerDay)
        $0.add(lockMax.setting)
      })
  }

  /// Those of some days, as counted from 1970, in their order, whose month has no partition and is to have one. To ask takes
  /// no lock.
  func daysWithoutPartition(among days: Set<Int64>) throws(PostgresError) -> [Int64] {
    let times = days.map { $0 * .millisecondsPerDay }.filter { Month(of: Timestamp(milliseconds: $0)) >= .first }
    guard !times.isEmpty else { return [] }
    return try run(Command(.missingPartitions) { $0.add(times) }).map { (row) throws(PostgresError) in
      try row.int64(0) / .millisecondsPerDay
    }
  }

  func lookAtPartitions() throws(PostgresError) -> KnownPartitions {
    guard let row = try run(Command(.lookAtPartitions)).first(where: { _ in true }) else {
      throw PostgresError(kind: .unexpectedResponse, message: "partitions_look.sql answered with no row")
    }
    return KnownPartitions(count: Int(try row.int64(0)), areFarAhead: try row.bool(1))
  }
}
