import TestSupport
import Testing

@testable import Store

@Suite struct CommitQueueTests {
  typealias Queue = CommitQueue<Int>

  private static let start = ContinuousClock.now
  private static let tenant = TenantKey(rawValue: 1)

  private static func at(_ milliseconds: Int) -> ContinuousClock.Instant { start + .milliseconds(milliseconds) }

  /// With writers that have their connections, and sleep.
  private static func idleQueue(writers: Int = 2, batchMax: Int = 100) -> Queue {
    var queue = Queue(
      writerCount: writers,
      queue: .init(sizeMax: .init(count: 1000, bytes: 0), tenantSizeMax: .init(count: 500, bytes: 0), turnCount: 10),
      batchMax: .init(count: batchMax))
    for writer in 0..<writers {
      queue.connected(writer, true)
      #expect(queue.next(for: writer, at: start) == .idle)
    }
    return queue
  }

  /// - Returns: the writer to wake.
  @discardableResult
  private func enqueue(
    _ submission: Int, _ queue: inout Queue, rows: Int = 1, of tenant: TenantKey = tenant
  ) -> Int? {
    guard case .waits(_, let wake) = queue.enqueue(submission, of: tenant, size: .init(count: rows)) else {
      Issue.record("submission \(submission) was not taken")
      return nil
    }
    return wake
  }

  @Test func anIdleWriterCommitsALoneCallAtOnce() {
    var queue = Self.idleQueue()
    #expect(enqueue(1, &queue) == 1)
    #expect(queue.next(for: 1, at: Self.at(0)) == .write([1], wake: nil))
  }

  @Test func aFreeWriterCommitsAllThatWaits() {
    var queue = Self.idleQueue(writers: 1)
    enqueue(0, &queue)
    _ = queue.next(for: 0, at: Self.at(0))
    for submission in 1...20 { #expect(enqueue(submission, &queue) == nil) }
    queue.written(by: 0, isConnected: true)
    #expect(queue.next(for: 0, at: Self.at(3)) == .write(Array(1...20), wake: nil))
  }

  @Test func fewRowsWaitForTheBatchUnderWayButNoLongerThanTheirPatience() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.next(for: 1, at: Self.at(0))
    #expect(enqueue(1, &queue) == 0, "somebody is to see that it does not wait too long")
    #expect(queue.next(for: 0, at: Self.at(1)) == .wait(until: Self.at(6), wake: nil))
    #expect(enqueue(2, &queue) == nil, "that somebody is there already")
    #expect(queue.next(for: 0, at: Self.at(5)) == .wait(until: Self.at(6), wake: nil), "called too early")
    #expect(queue.next(for: 0, at: Self.at(6)) == .write([1, 2], wake: nil))
  }

  @Test func theBatchsEndTakesWhatWaitedForIt() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.next(for: 1, at: Self.at(0))
    enqueue(1, &queue)
    _ = queue.next(for: 0, at: Self.at(1))
    queue.written(by: 1, isConnected: true)
    #expect(queue.next(for: 1, at: Self.at(2)) == .write([1], wake: nil))
    #expect(queue.next(for: 0, at: Self.at(6)) == .idle)
  }

  @Test func manyRowsDoNotWaitForTheBatchUnderWay() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.next(for: 1, at: Self.at(0))
    #expect(enqueue(1, &queue, rows: Queue.secondBatchRowsMin) == 0)
    #expect(queue.next(for: 0, at: Self.at(0)) == .write([1], wake: nil))
  }

  @Test func aWriterThatWaitsIsCalledForAFullBatch() {
    var queue = Self.idleQueue(batchMax: 50)
    enqueue(0, &queue)
    _ = queue.next(for: 1, at: Self.at(0))
    enqueue(1, &queue)
    _ = queue.next(for: 0, at: Self.at(0))
    #expect(enqueue(2, &queue, rows: 49) == nil, "more may gather")
    #expect(enqueue(3, &queue, rows: 10) == 0)
    #expect(queue.next(for: 0, at: Self.at(1)) == .write([1, 2], wake: nil))
  }

  @Test func whatDoesNotFitIntoABatchWakesTheNextWriter() {
    var queue = Self.idleQueue(batchMax: 50)
    #expect(enqueue(0, &queue, rows: 40) == 1)
    #expect(enqueue(1, &queue, rows: 40) == 0)
    #expect(queue.next(for: 1, at: Self.at(0)) == .write([0], wake: nil), "the other was woken already")
    #expect(queue.next(for: 0, at: Self.at(0)) == .write([1], wake: nil))
  }

  @Test func aSubmissionGreaterThanABatchGoesAlone() {
    var queue = Self.idleQueue(writers: 1, batchMax: 50)
    enqueue(0, &queue, rows: 60)
    enqueue(1, &queue, rows: 1)
    #expect(queue.next(for: 0, at: Self.at(0)) == .write([0], wake: nil))
  }

  @Test func oneBatchHasOfEveryTenant() {
    var queue = Self.idleQueue(writers: 1, batchMax: 30)
    for submission in 0..<100 { enqueue(submission, &queue) }
    enqueue(1000, &queue, of: TenantKey(rawValue: 2))
    guard case .write(let batch, _) = queue.next(for: 0, at: Self.at(0)) else {
      Issue.record("no batch")
      return
    }
    #expect(batch.count == 30 && batch.contains(1000))
  }

  @Test func whoGivesUpIsTakenOffUnlessAWriterHasIt() {
    var queue = Self.idleQueue(writers: 1)
    guard case .waits(let first, _) = queue.enqueue(1, of: Self.tenant, size: .init(count: 1)),
      case .waits(let second, _) = queue.enqueue(2, of: Self.tenant, size: .init(count: 1))
    else { return }
    #expect(queue.cancel(first) == 1)
    #expect(queue.next(for: 0, at: Self.at(0)) == .write([2], wake: nil))
    #expect(queue.cancel(second) == nil)
  }

  @Test func tellsFullFromClosed() {
    var queue = Self.idleQueue()
    enqueue(0, &queue, rows: 500)
    guard case .full = queue.enqueue(1, of: Self.tenant, size: .init(count: 1)) else {
      Issue.record("a tenant may fill half of the queue")
      return
    }
    enqueue(2, &queue, of: TenantKey(rawValue: 2))
    _ = queue.close()
    guard case .closed = queue.enqueue(3, of: Self.tenant, size: .init(count: 1)) else {
      Issue.record("a closed queue takes nothing")
      return
    }
  }

  @Test func closedItWritesWhatWaitsAtOnceAndStops() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.next(for: 1, at: Self.at(0))
    enqueue(1, &queue)
    _ = queue.next(for: 0, at: Self.at(0))
    #expect(queue.close() == [0], "the other is at its batch")
    #expect(queue.next(for: 0, at: Self.at(1)) == .write([1], wake: nil))
    queue.written(by: 0, isConnected: true)
    queue.written(by: 1, isConnected: true)
    #expect(queue.next(for: 0, at: Self.at(2)) == .stop)
    #expect(queue.next(for: 1, at: Self.at(2)) == .stop)
  }

  @Test func aWriterConnectsWhenItIsNeeded() {
    var queue = Queue(
      writerCount: 1, queue: .init(sizeMax: .init(count: 10), tenantSizeMax: .init(count: 10)),
      batchMax: .init(count: 10))
    #expect(queue.next(for: 0, at: Self.at(0)) == .idle)
    enqueue(0, &queue)
    #expect(queue.next(for: 0, at: Self.at(0)) == .connect)
    queue.connected(0, true)
    #expect(queue.next(for: 0, at: Self.at(0)) == .write([0], wake: nil))
  }

  @Test func aWriterWithoutAConnectionLeavesTheWorkToTheOther() {
    var queue = Self.idleQueue()
    queue.connected(1, false)
    #expect(enqueue(0, &queue) == 0)
    #expect(queue.next(for: 0, at: Self.at(0)) == .write([0], wake: nil))
    #expect(enqueue(1, &queue, rows: 40) == 1)
    #expect(queue.next(for: 1, at: Self.at(0)) == .wait(until: Self.at(1000), wake: nil))
    #expect(queue.next(for: 1, at: Self.at(1000)) == .connect, "it tries again")
    queue.connected(1, false)
    #expect(queue.next(for: 1, at: Self.at(1000)) == .wait(until: Self.at(2000), wake: nil))
  }

  @Test func aWriterWithoutAConnectionCallsOneThatHas() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.next(for: 1, at: Self.at(0))
    queue.written(by: 1, isConnected: false)
    enqueue(1, &queue)
    #expect(queue.next(for: 1, at: Self.at(1)) == .wait(until: Self.at(1001), wake: nil), "the other was called")
    #expect(queue.next(for: 0, at: Self.at(1)) == .write([1], wake: nil))
  }

  @Test func aWriterThatHasItsConnectionIsCalledFirst() {
    var queue = Self.idleQueue(writers: 3)
    queue.connected(2, false)
    queue.connected(1, false)
    #expect(enqueue(0, &queue) == 0)
  }

  @Test func whereNoWriterHasAConnectionTheWorkIsTriedAllTheSame() {
    var queue = Self.idleQueue()
    queue.connected(0, false)
    queue.connected(1, false)
    enqueue(0, &queue)
    #expect(queue.next(for: 1, at: Self.at(0)) == .write([0], wake: nil))
  }

  @Test func knowsHowLongTheSlowestWriterHasBeenAtItsBatch() {
    var queue = Self.idleQueue()
    #expect(queue.longestWrite(at: Self.at(0)) == nil)
    enqueue(0, &queue)
    _ = queue.next(for: 1, at: Self.at(0))
    enqueue(1, &queue, rows: 40)
    _ = queue.next(for: 0, at: Self.at(10))
    #expect(queue.longestWrite(at: Self.at(15)) == .milliseconds(15))
    queue.written(by: 1, isConnected: true)
    #expect(queue.longestWrite(at: Self.at(15)) == .milliseconds(5))
  }

  /// Whatever comes in whatever order: nothing is lost or written twice, nothing waits for longer than its patience
  /// where a writer is free, and in the end all is written.
  @Test func writesEverythingOnceAndInTime() {
    var random = SeededGenerator()
    for _ in 0..<200 {
      var world = World(random: random)
      if let fault = world.run() {
        Issue.record("\(fault), seed \(random.seed)")
        return
      }
      random = SeededGenerator()
    }
  }
}

extension CommitQueue.Step: Equatable where Submission: Equatable {
  static func == (a: Self, b: Self) -> Bool {
    switch (a, b) {
    case (.write(let a, let x), .write(let b, let y)): a == b && x == y
    case (.wait(let a, let x), .wait(let b, let y)): a == b && x == y
    case (.idle, .idle), (.connect, .connect), (.stop, .stop): true
    default: false
    }
  }
}

/// Callers and writers in a time of their own, as the recorder is.
private struct World {
  private enum Writer: Equatable {
    case ready
    case asleep(until: Int?)
    case writing([Int], until: Int)
    case stopped
  }

  private var random: SeededGenerator
  private var queue = CommitQueue<Int>(
    writerCount: 2,
    queue: .init(sizeMax: .init(count: 1000), tenantSizeMax: .init(count: 1000), turnCount: 7),
    batchMax: .init(count: 60))
  private var writers = [Writer.ready, .ready]
  private var waiting: Set<Int> = []
  private var written: Set<Int> = []
  private var now = 0
  private let start = ContinuousClock.now

  init(random: SeededGenerator) { self.random = random }

  /// - Returns: what went wrong.
  mutating func run() -> String? {
    var expected: Set<Int> = []
    while now < 2000 {
      for _ in 0..<Int.random(in: 0...3, using: &random) where now < 1000 {
        let submission = expected.count
        let tenant = TenantKey(rawValue: Int32.random(in: 0..<3, using: &random))
        let rows = Int.random(in: 1...30, using: &random)
        guard case .waits(_, let wake) = queue.enqueue(submission, of: tenant, size: .init(count: rows)) else {
          continue
        }
        expected.insert(submission)
        waiting.insert(submission)
        if let wake { call(wake) }
      }
      for writer in writers.indices {
        if let fault = step(writer) { return fault }
      }
      if !waiting.isEmpty, !isSeenTo { return "calls wait at \(now) and no writer looks after them" }
      now += 1
      if now == 1500 { for writer in queue.close() { call(writer) } }
    }
    if written != expected { return "\(expected.count - written.count) are not written" }
    return writers == [.stopped, .stopped] ? nil : "the writers do not stop"
  }

  /// Every writer is at work, or one that is free will look again in good time.
  private var isSeenTo: Bool {
    writers.allSatisfy { if case .writing = $0 { true } else { false } }
      || writers.contains { if case .asleep(let until?) = $0 { until > now && until <= now + 5 } else { false } }
  }

  private mutating func call(_ writer: Int) {
    if case .asleep = writers[writer] { writers[writer] = .ready }
  }

  private mutating func step(_ writer: Int) -> String? {
    switch writers[writer] {
    case .asleep(let until?) where until <= now: writers[writer] = .ready
    case .writing(_, let until) where until <= now:
      queue.written(by: writer, isConnected: true)
      writers[writer] = .ready
    default: break
    }
    while writers[writer] == .ready {
      switch queue.next(for: writer, at: start + .milliseconds(now)) {
      case .write(let batch, let wake):
        for submission in batch {
          guard waiting.remove(submission) != nil, written.insert(submission).inserted else {
            return "submission \(submission) is written twice"
          }
        }
        writers[writer] = .writing(batch, until: now + Int.random(in: 1...20, using: &random))
        if let wake { call(wake) }
      case .wait(let until, let wake):
        writers[writer] = .asleep(until: Int(((until - start) / .milliseconds(1)).rounded()))
        if let wake { call(wake) }
      case .idle: writers[writer] = .asleep(until: nil)
      case .connect: queue.connected(writer, true)
      case .stop: writers[writer] = .stopped
      }
    }
    return nil
  }
}
