import Core
import Logging
import Postgres
import Synchronization

/// Runs a server's jobs, from `run()` until `stop()`. README.md in this folder tells how servers share the work.
///
/// It decides when a job is due. A job that fails is tried again after a growing pause, and the others go on meanwhile.
/// The connections that jobs work on are theirs to share, and others may use them, too: each run takes its turn.
final class JobRunner: Sendable {
  struct Entry: Sendable {
    let job: any Job
    let connection: OwnerConnection

    init(_ job: any Job, on connection: OwnerConnection) {
      self.job = job
      self.connection = connection
    }
  }

  private struct State {
    var isStopping = false
    var hasEnded = false
    /// One for each job.
    var loops: [Task<Void, Never>] = []
    /// Of the jobs that are not due, by their places.
    var pauses: [Int: Task<Void, Never>] = [:]
    /// Ends what takes too long after `stop()`.
    var alarm: Task<Void, Never>?
  }

  /// A job pauses this many times as long as it has worked, so that it leaves most of the database's time to others.
  private static let pausePerWork = 8
  /// But no longer than this for that reason, so that what is merged is never far behind.
  private static let workPauseMax = Duration.seconds(2)

  private let entries: [Entry]
  private let clock: JobClock
  private let logger: Logger
  private let state = Mutex(State())

  init(_ entries: [Entry], clock: JobClock = .machine, logger: Logger) {
    self.entries = entries
    self.clock = clock
    self.logger = logger
  }

  /// Runs every job when it is due, until `stop()` or until the task is cancelled. It runs once.
  func run() async {
    let loops = state.withLock { state in
      state.loops = entries.indices.map { place in Task { await self.loop(place) } }
      return state.loops
    }
    await withTaskCancellationHandler {
      for loop in loops { await loop.value }
    } onCancel: {
      for loop in loops { loop.cancel() }
    }
    state.withLock { state in
      state.hasEnded = true
      state.alarm?.cancel()
    }
  }

  /// Has `run()` end: jobs that do not finish what is left are stopped at once, their statement is cancelled and their
  /// transaction rolled back. So are the others after `Limits.jobStopSecondsMax`.
  func stop() {
    let stopped = state.withLock { state -> State? in
      guard !state.isStopping, !state.hasEnded else { return nil }
      state.isStopping = true
      state.alarm = Task { [clock] in
        guard (try? await clock.sleep(.seconds(Limits.jobStopSecondsMax))) != nil else { return }
        for loop in self.state.withLock(\.loops) { loop.cancel() }
      }
      return state
    }
    guard let stopped else { return }
    for (entry, loop) in zip(entries, stopped.loops) where !entry.job.finishesOnStop { loop.cancel() }
    for pause in stopped.pauses.values { pause.cancel() }
  }

  /// Runs each job until nothing is left for it to do. The first failure is thrown.
  func runOnce() async throws(PostgresError) {
    for entry in entries { _ = try await workOff(entry) }
  }

  private func loop(_ place: Int) async {
    let job = entries[place].job
    var backoff = Backoff(from: .milliseconds(500), to: .seconds(10))
    while !Task.isCancelled {
      // Asked before the work, which then sees all that was committed before the stop.
      let isLast = state.withLock(\.isStopping)
      if isLast, !job.finishesOnStop { return }
      let pause: Duration
      do throws(PostgresError) {
        let work = try await workOff(entries[place])
        backoff.succeeded()
        pause = max(job.interval, min(work * Self.pausePerWork, Self.workPauseMax))
      } catch {
        log(error, of: job)
        pause = backoff.nextPause()
      }
      if isLast { return }
      await rest(pause, place)
    }
  }

  /// - Returns: how long the job has worked; the time that it has waited for its connection does not count.
  private func workOff(_ entry: Entry) async throws(PostgresError) -> Duration {
    var work = Duration.zero
    while true {
      let run = await entry.connection.run { [clock] (session) throws(PostgresError) in
        let begun = clock.now()
        let next = try entry.job.runOnce(on: session)
        return (next: next, time: clock.now() - begun)
      }
      let (next, time) = try run.get()
      work += time
      if next == .afterPause || Task.isCancelled { return work }
    }
  }

  /// For so long, or until `stop()`.
  private func rest(_ pause: Duration, _ place: Int) async {
    let sleep = Task { [clock] in
      do { try await clock.sleep(pause) } catch {}
    }
    let isStopping = state.withLock { state in
      state.pauses[place] = sleep
      return state.isStopping
    }
    if isStopping { sleep.cancel() }
    await withTaskCancellationHandler {
      await sleep.value
    } onCancel: {
      sleep.cancel()
    }
  }

  private func log(_ error: PostgresError, of job: any Job) {
    // A lost connection is logged where it is opened again, and a conflict is nobody's fault.
    if error.isConnectionLost || error.isTransient || Task.isCancelled { return }
    logger.log(
      level: error.isLockTimeout ? .warning : .error, "a job failed and is tried again later",
      metadata: ["job": "\(job.name)", "reason": "\(error.message)"])
  }
}
