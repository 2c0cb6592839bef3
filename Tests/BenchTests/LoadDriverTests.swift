import Core
import Messages
import NIOCore
import NIOPosix
import Testing

@testable import Bench

@Suite struct LoadDriverTests {
  /// Answers one call at a time, each after a while.
  private final class SlowConnection: LoadConnection {
    var isOpen = true
    private var calls = CallsInFlight(expected: 1)
    private var stream: UInt32 = 1
    private let driver: LoadDriver
    private let loop: any EventLoop
    private let pause: TimeAmount

    init(_ driver: LoadDriver, _ loop: any EventLoop, pause: TimeAmount) {
      self.driver = driver
      self.loop = loop
      self.pause = pause
    }

    var roomForCalls: Int { 1 - calls.count }
    var callsInFlight: Int { calls.count }

    func send(_ call: OutgoingCall, from source: borrowing CallSource, start: Int64) {
      calls.insert(.init(stream: stream, operation: call.operation, records: 1, start: start))
    }

    func flush() {
      let bound = NIOLoopBound(self, eventLoop: loop)
      loop.scheduleTask(in: pause) {
        let connection = bound.value
        guard let call = connection.calls.remove(connection.stream) else { return }
        connection.stream += 2
        connection.driver.answered(call, records: 1, at: LoadDriver.now)
        connection.driver.proceed(connection)
      }
    }

    func close(_ reason: RPCError) { isOpen = false }
  }

  private static var workload: Workload {
    Workload(
      callers: [.init(token: "t")], shares: .zipf(1), mix: [.record: 1], pool: ContentPool(seed: 1, count: 10), seed: 1)
  }

  private func run(pauseMilliseconds: Int64, _ change: (inout LoadPlan) -> Void) async throws -> LoadReport {
    var plan = LoadPlan(address: Address("unix:none")!)
    (plan.warmupSeconds, plan.seconds) = (0, nil)
    change(&plan)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let report = try await loop.flatSubmit { [plan] in
      let done = loop.makePromise(of: LoadReport.self)
      let driver = LoadDriver(Self.workload, plan: plan, loop: loop, done: done)
      driver.start([SlowConnection(driver, loop, pause: .milliseconds(pauseMilliseconds))])
      return done.futureResult
    }.get()
    try await group.shutdownGracefully()
    return report
  }

  @Test func inAClosedLoopACallTakesWhatItsAnswerTakes() async throws {
    let report = try await run(pauseMilliseconds: 10) { $0.count = 10 }
    #expect(report.all.calls == 10 && report.errors == 0)
    #expect(report.all.latencyUs.p50 >= 10_000)
    #expect(report.seconds >= 0.1)
  }

  @Test func atARateWaitingForASlowServerCounts() async throws {
    // One call is due each 5 ms and takes 20: the 20th has waited some 300 ms when its response comes.
    let report = try await run(pauseMilliseconds: 20) {
      $0.pace = .rate(200)
      $0.count = 20
    }
    #expect(report.all.calls == 20 && report.errors == 0)
    #expect(report.all.latencyUs.max >= 300_000)
    #expect(report.all.latencyUs.p50 >= 100_000)
  }

  @Test func whatWasDueAndNeverSentIsTold() async throws {
    let report = try await run(pauseMilliseconds: 50) {
      $0.pace = .rate(100)
      $0.seconds = 0.3
    }
    #expect(report.errorsByCode.map(\.code) == ["NOT_SENT"])
    #expect(report.all.calls + report.errors == 30)
  }

  @Test func arrivalsComeAtTheirTimesAndEndTheRun() async throws {
    let report = try await run(pauseMilliseconds: 1) {
      $0.pace = .arrivals(offsetsNanoseconds: [0, 50_000_000, 100_000_000])
    }
    #expect(report.all.calls == 3)
    #expect(report.seconds >= 0.1)
  }
}
