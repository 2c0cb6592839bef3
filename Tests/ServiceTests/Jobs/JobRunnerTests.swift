import Core
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

/// A job of a test's own.
private struct TestJob: Job {
  var name = "test"
  var interval = Duration.seconds(1)
  var finishesOnStop = false
  var body: @Sendable (Session) throws(PostgresError) -> NextRun

  func runOnce(on session: Session) throws(PostgresError) -> NextRun { try body(session) }
}

private final class Counter: Sendable {
  private let counted = Mutex(0)

  var count: Int { counted.withLock(\.self) }
  func add() { counted.withLock { $0 += 1 } }
}

/// Who is at work under a lease.
private final class Workers: Sendable {
  private struct State {
    var inside = 0
    var mostInside = 0
    var runs: [Int] = []
    var isHolding = false
    var process: Int32?
  }

  private let state = Mutex(State())

  /// The most that were at work at once.
  var mostInside: Int { state.withLock(\.mostInside) }
  /// Whoever worked, in order.
  var runs: [Int] { state.withLock(\.runs) }
  /// The next to work does not end by itself.
  func holdTheNext() { state.withLock { $0.isHolding = true } }
  /// The process of the one that does not end.
  var heldProcess: Int32? { state.withLock(\.process) }

  func work(_ worker: Int, on session: Session) throws(PostgresError) {
    let isHeld = state.withLock { state in
      state.inside += 1
      state.mostInside = max(state.mostInside, state.inside)
      defer { state.isHolding = false }
      return state.isHolding
    }
    defer { state.withLock { $0.inside -= 1 } }
    if isHeld {
      let process = Int32(try session.script("SELECT pg_backend_pid()")[0][0]!)!
      state.withLock { $0.process = process }
    }
    try session.script("SELECT pg_sleep(\(isHeld ? 1000 : 0.001))")
    state.withLock { $0.runs.append(worker) }
  }
}

@Suite(.timeLimit(.minutes(5))) struct JobRunnerTests {
  private static let failing = Statement("failing", "SELECT 1 / 0")

  /// Runs `body` while the runner does, and ends it.
  private func running(_ runner: JobRunner, _ body: () async throws -> Void) async throws {
    let run = Task { await runner.run() }
    let result: Result<Void, any Error>
    do { result = .success(try await body()) } catch { result = .failure(error) }
    runner.stop()
    await run.value
    try result.get()
  }

  @Test func aJobThatFailsIsTriedAgainLaterAndTheOthersGoOn() async throws {
    try await TestDatabase.with { database in
      let (clock, owner) = (ManualClock(), database.owner())
      let (failed, done) = (Counter(), Counter())
      let failing = TestJob { (session) throws(PostgresError) in
        failed.add()
        _ = try session.run(Command(Self.failing))
        return .afterPause
      }
      let other = TestJob { (session) throws(PostgresError) in
        done.add()
        return .afterPause
      }
      let runner = JobRunner(
        [.init(failing, on: owner), .init(other, on: owner)], clock: JobClock(clock), logger: .silent)
      try await running(runner) {
        await clock.waitForSleepers(2)
        #expect([failed.count, done.count] == [1, 1])
        // After half a second at most. The other's interval is longer.
        clock.advance(by: .milliseconds(500))
        await clock.waitForSleepers(2)
        #expect([failed.count, done.count] == [2, 1])
        for round in 1...8 {
          clock.advance(by: .seconds(10))
          await clock.waitForSleepers(2)
          #expect([failed.count, done.count] == [2 + round, 1 + round])
        }
        // The pause has grown by now, to half of its longest at least.
        clock.advance(by: .milliseconds(4900))
        await clock.waitForSleepers(2)
        #expect([failed.count, done.count] == [10, 10])
      }
    }
  }

  @Test func runsAgainAtOnceWhileThereIsMoreAndThenPauses() async throws {
    try await TestDatabase.with { database in
      let (clock, runs) = (ManualClock(), Counter())
      let job = TestJob { (_) throws(PostgresError) in
        runs.add()
        // Every run takes 200 ms.
        clock.advance(by: .milliseconds(200))
        return runs.count % 5 == 0 ? .afterPause : .atOnce
      }
      let runner = JobRunner([.init(job, on: database.owner())], clock: JobClock(clock), logger: .silent)
      try await running(runner) {
        await clock.waitForSleepers(1)
        #expect(runs.count == 5)
        // Eight seconds, for one of work, but for the bound.
        clock.advance(by: .milliseconds(1999))
        #expect(runs.count == 5)
        clock.advance(by: .milliseconds(1))
        await clock.waitForSleepers(1)
        #expect(runs.count == 10)
      }
      try await runner.runOnce()
      #expect(runs.count == 15)
    }
  }

  /// Two servers, each with a runner, a clock and a connection of its own.
  @Test func oneWorksAtATimeAndTheOtherTakesOverWhereItsConnectionIsCut() async throws {
    try await TestDatabase.with { database in
      let (workers, tries) = (Workers(), [Counter(), Counter()])
      let clocks = [ManualClock(), ManualClock()]
      let runners = (0..<2).map { server in
        let job = TestJob { (session) throws(PostgresError) in
          tries[server].add()
          _ = try session.withLease(.rollups) { (session) throws(PostgresError) in
            try workers.work(server, on: session)
          }
          return .afterPause
        }
        return JobRunner(
          [.init(job, on: database.owner(statementTimeout: .zero))], clock: JobClock(clocks[server]), logger: .silent)
      }
      workers.holdTheNext()
      try await running(runners[0]) {
        try await eventually("the first is at work") { workers.heldProcess != nil }
        try await running(runners[1]) {
          for round in 1...5 {
            await clocks[1].waitForSleepers(1)
            #expect(tries[1].count == round)
            clocks[1].advance(by: .seconds(1))
          }
          await clocks[1].waitForSleepers(1)
          #expect(workers.runs == [], "the second tries, and does not work")

          try database.sql("SELECT pg_terminate_backend(\(workers.heldProcess!), 60000)")
          // Its work was rolled back with its lease, and it pauses.
          await clocks[0].waitForSleepers(1)
          #expect(workers.runs == [])
          clocks[1].advance(by: .seconds(1))
          await clocks[1].waitForSleepers(1)
          #expect(workers.runs == [1])
          // And comes back.
          clocks[0].advance(by: .seconds(1))
          await clocks[0].waitForSleepers(1)
          #expect(workers.runs == [1, 0])

          for round in 1...30 {
            for clock in clocks { clock.advance(by: .seconds(2)) }
            for clock in clocks { await clock.waitForSleepers(1) }
            #expect(workers.runs.count >= 2 + round, "one of them works each time")
          }
          #expect(workers.mostInside == 1)
        }
      }
    }
  }

  /// What was under way is cancelled and rolled back: at once, or, of a job that finishes what is left, in the end.
  @Test(arguments: [false, true]) func stopEndsAJobThatIsUnderWay(finishes: Bool) async throws {
    try await TestDatabase.with { database in
      let (clock, workers, owner) = (ManualClock(), Workers(), database.owner(statementTimeout: .zero))
      var job = TestJob { (session) throws(PostgresError) in
        _ = try session.withLease(.rollups) { (session) throws(PostgresError) in
          try session.script("DELETE FROM parley.leases WHERE name = 'migrations'")
          try workers.work(0, on: session)
        }
        return .atOnce
      }
      job.finishesOnStop = finishes
      let runner = JobRunner([.init(job, on: owner)], clock: JobClock(clock), logger: .silent)
      workers.holdTheNext()
      let run = Task { await runner.run() }
      try await eventually("it is at work") { workers.heldProcess != nil }
      runner.stop()
      if finishes {
        await clock.waitForSleepers(1)
        clock.advance(by: .seconds(Limits.jobStopSecondsMax))
      }
      await run.value
      #expect(workers.runs == [])
      #expect(try database.sql("SELECT FROM parley.leases").count == 3)
      #expect(
        try await owner.run { (session) throws(PostgresError) in try session.script("SELECT 1") }.get() == [["1"]])
    }
  }

  /// A job that finishes runs until nothing is left; no other begins again.
  @Test(arguments: [false, true]) func stopLetsAJobFinishWhatIsLeft(beforeTheStart: Bool) async throws {
    try await TestDatabase.with { database in
      let (clock, runs) = (ManualClock(), [Counter(), Counter()])
      let jobs = [false, true].enumerated().map { place, finishes in
        var job = TestJob { (_) throws(PostgresError) in
          runs[place].add()
          return runs[place].count % 3 == 0 ? .afterPause : .atOnce
        }
        job.finishesOnStop = finishes
        return JobRunner.Entry(job, on: database.owner())
      }
      let runner = JobRunner(jobs, clock: JobClock(clock), logger: .silent)
      if beforeTheStart {
        runner.stop()
        await runner.run()
        #expect(runs.map(\.count) == [0, 3])
        return
      }
      try await running(runner) { await clock.waitForSleepers(2) }
      #expect(runs.map(\.count) == [3, 6])
    }
  }

  @Test func endsWhenItsTaskIsCancelled() async throws {
    try await TestDatabase.with { database in
      let (clock, owner) = (ManualClock(), database.owner())
      let putOff = PutOffTenants(logger: .silent)
      let runner = JobRunner(
        [
          .init(RollupJob(putOff, logger: .silent), on: owner), .init(RebuildJob(putOff, logger: .silent), on: owner),
        ], clock: JobClock(clock), logger: .silent)
      let run = Task { await runner.run() }
      await clock.waitForSleepers(2)
      run.cancel()
      await run.value
    }
  }
}
