import Core
import Glibc
import NIOCore

/// A connection that sends calls. Used on the driver's event loop alone.
protocol LoadConnection: AnyObject {
  /// False once it is lost.
  var isOpen: Bool { get }
  /// So many more calls may be under way.
  var roomForCalls: Int { get }
  /// Of its calls, those without a response.
  var callsInFlight: Int { get }
  /// Adds the call to what `flush` sends.
  func send(_ call: OutgoingCall, from source: borrowing CallSource, start: Int64)
  func flush()
  /// Gives up: what is under way fails for this reason.
  func close(_ reason: RPCError)
}

/// Decides what is sent when, and counts what comes back. Lives on one event loop.
///
/// At a given rate a call's time counts from when it was due, so that waiting behind slow calls is part of it
/// (coordinated omission). Every call ends in exactly one place of the tally.
final class LoadDriver {
  let plan: LoadPlan
  private let loop: any EventLoop
  private var source: CallSource
  private var connections: [any LoadConnection] = []
  private var turn = 0
  private(set) var tally = Tally()
  private let done: EventLoopPromise<LoadReport>

  private var startedAt: Int64 = 0
  /// The end of the warm-up.
  private var countedFrom: Int64 = 0
  private var endsAt: Int64 = .max
  private var sentCount = 0
  /// Calls under way on all connections.
  private var inFlightCount = 0
  private var lastResponseAt: Int64 = 0
  private var cpuAtStart = 0.0
  private var isStopped = true
  private var isInterrupted = false
  private var isFinished = false
  private var tick: Scheduled<Void>?

  init(_ workload: Workload, plan: LoadPlan, loop: any EventLoop, done: EventLoopPromise<LoadReport>) {
    self.plan = plan
    self.loop = loop
    self.done = done
    source = CallSource(workload)
  }

  static var now: Int64 { Int64(NIODeadline.now().uptimeNanoseconds) }

  // MARK: The run

  func start(_ connections: [any LoadConnection]) {
    self.connections = connections.filter(\.isOpen)
    startedAt = Self.now
    countedFrom = startedAt + Int64(plan.warmupSeconds * 1_000_000_000)
    cpuAtStart = Self.cpuSeconds()
    isStopped = false
    guard !self.connections.isEmpty else { return endWithoutConnections() }
    let bound = NIOLoopBound(self, eventLoop: loop)
    if plan.warmupSeconds > 0 {
      loop.scheduleTask(deadline: .uptimeNanoseconds(UInt64(countedFrom))) {
        bound.value.cpuAtStart = Self.cpuSeconds()
      }
    }
    if let seconds = plan.seconds {
      endsAt = countedFrom + Int64(seconds * 1_000_000_000)
      loop.scheduleTask(deadline: .uptimeNanoseconds(UInt64(endsAt))) { bound.value.stop() }
    }
    if plan.isOpen {
      sendDue()
    } else {
      for connection in self.connections { fill(connection) }
    }
  }

  /// Sends no more; ends when what is under way was answered, or its time is up.
  func stop(isInterrupted: Bool = false) {
    if isInterrupted { self.isInterrupted = true }
    guard !isStopped else { return }
    // The timers of the end and of the last calls may come in any order.
    let now = Self.now
    if plan.isOpen { sendAllDue(now) }
    isStopped = true
    tick?.cancel()
    countUnsent(before: min(now, endsAt))
    guard inFlightCount > 0 else { return finish() }
    let bound = NIOLoopBound(self, eventLoop: loop)
    loop.scheduleTask(in: .seconds(Int64(plan.timeoutSeconds) + 2)) {
      let driver = bound.value
      let reason = RPCError(
        .deadlineExceeded, .deadlineExceeded,
        "no answer came within the \(driver.plan.timeoutSeconds) s a call may take")
      for connection in driver.connections { connection.close(reason) }
      driver.finish()
    }
  }

  /// Calls that were due and found no room until the end have no time, but must not vanish.
  private func countUnsent(before end: Int64) {
    guard plan.isOpen else { return }
    while let due = plan.due(sentCount), startedAt + due < end {
      sentCount += 1
      guard startedAt + due >= countedFrom else { continue }
      tally.fail("NOT_SENT", "due, but no connection had room for it until the end: the rate is more than is served")
    }
  }

  private func finish() {
    guard !isFinished else { return }
    isFinished = true
    isStopped = true
    tick?.cancel()
    let end = max(lastResponseAt, min(endsAt, Self.now))
    done.succeed(
      LoadReport(
        tally, seconds: Double(max(end - countedFrom, 1)) / 1_000_000_000,
        cpuSeconds: Self.cpuSeconds() - cpuAtStart, isInterrupted: isInterrupted))
    for connection in connections { connection.close(.cancelled) }
  }

  // MARK: Sending

  /// Keeps a connection full; at a given rate, with what is due.
  func fill(_ connection: any LoadConnection) {
    guard !isStopped else { return }
    let now = Self.now
    var isSent = false
    while connection.roomForCalls > 0, let start = nextStart(now) {
      send(on: connection, start: start)
      isSent = true
    }
    if isSent { connection.flush() }
    if !isStopped, !plan.isOpen, plan.due(sentCount) == nil { stop() }
  }

  /// When the next call counts from; nil when none is due.
  private func nextStart(_ now: Int64) -> Int64? {
    guard let due = plan.due(sentCount) else { return nil }
    guard plan.isOpen else { return now < endsAt ? now : nil }
    let start = startedAt + due
    return start <= now && start < endsAt ? start : nil
  }

  private func send(on connection: any LoadConnection, start: Int64) {
    let call = source.next()
    sentCount += 1
    inFlightCount += 1
    connection.send(call, from: source, start: start)
  }

  /// Sends what is due, each call on the next connection with room.
  private func sendAllDue(_ now: Int64) {
    var used: [any LoadConnection] = []
    while let start = nextStart(now), let connection = nextWithRoom() {
      send(on: connection, start: start)
      if !used.contains(where: { $0 === connection }) { used.append(connection) }
    }
    for connection in used { connection.flush() }
  }

  /// Sends what is due, and comes again when the next call is.
  private func sendDue() {
    guard !isStopped else { return }
    let now = Self.now
    sendAllDue(now)
    guard let due = plan.due(sentCount) else { return stop() }
    guard startedAt + due < endsAt else { return }
    // With every connection full, answers send what is due.
    let next = max(startedAt + due, now + (nextWithRoom() == nil ? 1_000_000 : 0))
    let bound = NIOLoopBound(self, eventLoop: loop)
    tick = loop.scheduleTask(deadline: .uptimeNanoseconds(UInt64(next))) { bound.value.sendDue() }
  }

  private func nextWithRoom() -> (any LoadConnection)? {
    for _ in connections.indices {
      turn = (turn + 1) % connections.count
      if connections[turn].roomForCalls > 0 { return connections[turn] }
    }
    return nil
  }

  // MARK: Answers

  func answered(_ call: CallsInFlight.Call, records: Int, at now: Int64) {
    inFlightCount -= 1
    // In a closed loop calls count that end after the warm-up: slow ones may all have begun in it.
    guard (plan.isOpen ? call.start : now) >= countedFrom, !isFinished else { return }
    lastResponseAt = max(lastResponseAt, now)
    tally.add(call.operation, nanoseconds: now - call.start, records: records)
  }

  func failed(_ error: RPCError, count: Int = 1) {
    inFlightCount -= count
    guard !isFinished else { return }
    tally.fail(error, count: count)
  }

  /// The connection has handed on all responses that came together.
  func proceed(_ connection: any LoadConnection) {
    if isStopped { endIfIdle() } else { fill(connection) }
  }

  /// The connection is gone, with everything that was under way on it.
  func lost(_ connection: any LoadConnection) {
    connections.removeAll { $0 === connection }
    guard !isFinished, startedAt > 0 else { return }
    if connections.isEmpty { endWithoutConnections() } else if isStopped { endIfIdle() }
  }

  private func endWithoutConnections() {
    if !isStopped { tally.fail("CONNECTION_LOST", "every connection was lost, so the run ended early") }
    finish()
  }

  private func endIfIdle() {
    if startedAt > 0, inFlightCount == 0 { finish() }
  }

  var progress: LoadProgress {
    LoadProgress(
      seconds: Double(Self.now - startedAt) / 1_000_000_000, calls: tally.calls,
      records: tally.records.reduce(0, +), failures: tally.failureCount)
  }

  /// Of this process, so far.
  private static func cpuSeconds() -> Double {
    var usage = rusage()
    getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }
}
