import Core
import Postgres

/// Keeps the partitions of this month and the next two in being, so that no call has to wait for one.
///
/// Every server looks, because each keeps in mind which partitions are there. What is missing is made under the lease, a
/// partition in each transaction. A call whose partition is missing all the same makes it without.
struct PartitionJob: Job {
  let name = "partitions"
  let interval = Duration.seconds(10)
  let finishesOnStop = false

  private let partitions: PartitionManager
  private let watch: LeaseWatch?
  private let now: @Sendable () -> Timestamp

  init(
    _ partitions: PartitionManager, watch: LeaseWatch? = nil, now: @escaping @Sendable () -> Timestamp = { .now }
  ) {
    self.partitions = partitions
    self.watch = watch
    self.now = now
  }

  func runOnce(on session: Session) throws(PostgresError) -> NextRun {
    let now = now()
    try makePartitions(for: [0, 31, 62].map { now + $0 * .millisecondsPerDay }, on: session)
    partitions.haveLooked(try session.lookAtPartitions())
    return .afterPause
  }

  private func makePartitions(for times: [Timestamp], on session: Session) throws(PostgresError) {
    var days = partitions.daysWithoutPartition(for: times)
    guard !days.isEmpty else { return }
    for day in try session.daysWithoutPartition(among: days) {
      let made: Void? = try session.withLease(.partitions, beginningWith: .begin, watch) {
        (session) throws(PostgresError) in
        try session.ensurePartition(ofDay: day, lockMax: .milliseconds(Limits.jobLockMillisecondsMax))
      }
      // Another server is at it.
      if made == nil { days.remove(day) }
    }
    partitions.rememberPartitions(ofDays: days)
  }
}
