import TestSupport
import Testing

@testable import Service

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
    for writer in 0..<writers { #expect(queue.connected(writer, true, at: start) == .sleep()) }
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

  /// With one writer, which leaves submission 1 of the only tenant until 100 ms.
  private func queueThatGivesWay() -> Queue {
    var queue = Self.idleQueue(writers: 1)
    enqueue(0, &queue)
    #expect(queue.becameFree(0, at: Self.at(0)) == .write([0]))
    enqueue(1, &queue)
    let end = queue.written(
      by: 0, isConnected: true, givingWay: (Self.tenant, .milliseconds(50)), at: Self.at(50))
    #expect(end == .sleep(until: Self.at(100)))
    return queue
  }

  @Test func anIdleWriterCommitsALoneCallAtOnce() {
    var queue = Self.idleQueue()
    #expect(enqueue(1, &queue) == 1)
    #expect(queue.becameFree(1, at: Self.at(0)) == .write([1]))
    #expect(queue.written(by: 1, isConnected: true, at: Self.at(1)) == .sleep())
  }

  @Test func aFreeWriterCommitsAllThatWaits() {
    var queue = Self.idleQueue(writers: 1)
    enqueue(0, &queue)
    #expect(queue.becameFree(0, at: Self.at(0)) == .write([0]))
    for submission in 1...20 { #expect(enqueue(submission, &queue) == nil) }
    #expect(queue.written(by: 0, isConnected: true, at: Self.at(3)) == .write(Array(1...20)))
  }

  @Test func fewRowsWaitForTheBatchUnderWayButNoLongerThanTheirPatience() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    #expect(queue.becameFree(1, at: Self.at(0)) == .write([0]))
    #expect(enqueue(1, &queue) == 0, "somebody is to see that it does not wait too long")
    #expect(queue.becameFree(0, at: Self.at(1)) == .sleep(until: Self.at(6)))
    #expect(enqueue(2, &queue) == nil, "that somebody is there already")
    #expect(queue.becameFree(0, at: Self.at(5)) == .sleep(until: Self.at(6)), "woken too early")
    #expect(queue.becameFree(0, at: Self.at(6)) == .write([1, 2]))
  }

  /// The example in the folder's README.md, with its two writers A and B.
  @Test func exampleOfTheREADME() {
    var queue = Self.idleQueue()
    let (a, b) = (1, 0)
    #expect(enqueue(0, &queue) == a)
    #expect(queue.becameFree(a, at: Self.at(0)) == .write([0]))
    #expect(enqueue(1, &queue, rows: 10) == b)
    #expect(queue.becameFree(b, at: Self.at(1)) == .sleep(until: Self.at(6)))
    #expect(queue.written(by: a, isConnected: true, at: Self.at(2)) == .write([1]))
    #expect(enqueue(2, &queue, rows: 3) == nil)
    #expect(queue.becameFree(b, at: Self.at(6)) == .sleep(until: Self.at(7)))
    #expect(queue.becameFree(b, at: Self.at(7)) == .write([2]))
    #expect(queue.written(by: a, isConnected: true, at: Self.at(8)) == .sleep())
    #expect(enqueue(3, &queue, rows: 40) == a)
    #expect(queue.becameFree(a, at: Self.at(9)) == .write([3]))
  }

  @Test func theBatchsEndTakesWhatWaitedForIt() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.becameFree(1, at: Self.at(0))
    enqueue(1, &queue)
    _ = queue.becameFree(0, at: Self.at(1))
    #expect(queue.written(by: 1, isConnected: true, at: Self.at(2)) == .write([1]))
    #expect(queue.becameFree(0, at: Self.at(6)) == .sleep())
  }

  @Test func aTenantThatRecordsAloneGivesWayForItsTime() {
    var queue = Self.idleQueue(writers: 1)
    enqueue(0, &queue)
    #expect(queue.becameFree(0, at: Self.at(0)) == .write([0]))
    for submission in 1...40 { enqueue(submission, &queue) }
    let end = queue.written(
      by: 0, isConnected: true, givingWay: (Self.tenant, .milliseconds(3)), at: Self.at(3))
    #expect(end == .sleep(until: Self.at(6)))
    #expect(enqueue(41, &queue) == nil)
    #expect(queue.becameFree(0, at: Self.at(5)) == .sleep(until: Self.at(6)), "woken too early")
    #expect(queue.becameFree(0, at: Self.at(6)) == .write(Array(1...41)))
  }

  @Test func theTimesToGiveWayOfTwoWritersAddUp() {
    var queue = Self.idleQueue()
    enqueue(0, &queue, rows: 100)
    #expect(queue.becameFree(1, at: Self.at(0)) == .write([0]))
    enqueue(1, &queue, rows: 100)
    #expect(queue.becameFree(0, at: Self.at(1)) == .write([1]))
    enqueue(2, &queue, rows: 100)
    func end(of writer: Int, at time: Int) -> Queue.Step {
      queue.written(by: writer, isConnected: true, givingWay: (Self.tenant, .milliseconds(8)), at: Self.at(time))
    }
    #expect(end(of: 1, at: 10) == .sleep(until: Self.at(18)))
    #expect(end(of: 0, at: 11) == .sleep(until: Self.at(26)))
    #expect(queue.becameFree(1, at: Self.at(18)) == .sleep(until: Self.at(26)))
  }

  @Test func anotherTenantsRowsDoNotWaitForOneThatGivesWay() {
    var queue = queueThatGivesWay()
    #expect(enqueue(2, &queue, of: TenantKey(rawValue: 2)) == 0)
    #expect(queue.becameFree(0, at: Self.at(51)) == .write([1, 2]))
  }

  /// Whichever writer has lost its connection meanwhile.
  @Test func anotherTenantsRowsAreWrittenByAWriterThatHasItsConnection() {
    var queue = Self.idleQueue()
    enqueue(0, &queue, rows: 100)
    #expect(queue.becameFree(1, at: Self.at(0)) == .write([0]))
    enqueue(1, &queue, rows: 100)
    #expect(queue.becameFree(0, at: Self.at(1)) == .write([1]))
    enqueue(2, &queue)
    let end = queue.written(
      by: 1, isConnected: true, givingWay: (Self.tenant, .milliseconds(50)), at: Self.at(50))
    #expect(end == .sleep(until: Self.at(100)))
    #expect(queue.written(by: 0, isConnected: false, at: Self.at(51)) == .sleep(until: Self.at(1051)))
    #expect(enqueue(3, &queue, of: TenantKey(rawValue: 2)) == 1)
    #expect(queue.becameFree(1, at: Self.at(52)) == .write([2, 3]))
  }

  @Test func nobodyGivesWayOnceTheQueueIsClosed() {
    var queue = queueThatGivesWay()
    #expect(queue.close() == [0])
    #expect(queue.becameFree(0, at: Self.at(51)) == .write([1]))
    #expect(queue.written(by: 0, isConnected: true, at: Self.at(52)) == .stop)
  }

  /// Batches that end in time leave the other writer nothing, however many there are.
  @Test func patienceIsWithTheBatchThatWasBegunLast() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.becameFree(1, at: Self.at(0))
    enqueue(1, &queue)
    #expect(queue.becameFree(0, at: Self.at(1)) == .sleep(until: Self.at(6)))
    #expect(queue.written(by: 1, isConnected: true, at: Self.at(4)) == .write([1]))
    enqueue(2, &queue)
    #expect(queue.becameFree(0, at: Self.at(6)) == .sleep(until: Self.at(9)))
    #expect(queue.becameFree(0, at: Self.at(9)) == .write([2]))
  }

  /// As where its transaction waits for a lock.
  @Test func aBatchThatDoesNotEndHoldsUpNobody() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.becameFree(1, at: Self.at(0))
    enqueue(1, &queue)
    #expect(queue.becameFree(0, at: Self.at(49)) == .sleep(until: Self.at(54)))
    #expect(queue.becameFree(0, at: Self.at(54)) == .write([1]))
    #expect(queue.written(by: 0, isConnected: true, at: Self.at(55)) == .sleep())
    for submission in 6..<20 {
      enqueue(submission, &queue)
      #expect(queue.becameFree(0, at: Self.at(10 * submission)) == .write([submission]))
      #expect(queue.written(by: 0, isConnected: true, at: Self.at(10 * submission + 1)) == .sleep())
    }
  }

  @Test func manyRowsDoNotWaitForTheBatchUnderWay() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.becameFree(1, at: Self.at(0))
    #expect(enqueue(1, &queue, rows: Queue.secondBatchRowsMin) == 0)
    #expect(queue.becameFree(0, at: Self.at(0)) == .write([1]))
  }

  @Test func aWriterThatWaitsIsWokenForAFullBatch() {
    var queue = Self.idleQueue(batchMax: 50)
    enqueue(0, &queue)
    _ = queue.becameFree(1, at: Self.at(0))
    enqueue(1, &queue)
    _ = queue.becameFree(0, at: Self.at(0))
    #expect(enqueue(2, &queue, rows: 49) == nil, "more may gather")
    #expect(enqueue(3, &queue, rows: 10) == 0)
    #expect(queue.becameFree(0, at: Self.at(1)) == .write([1, 2]))
  }

  @Test func whatDoesNotFitIntoABatchWakesTheNextWriter() {
    var queue = Self.idleQueue(batchMax: 50)
    #expect(enqueue(0, &queue, rows: 40) == 1)
    #expect(enqueue(1, &queue, rows: 40) == 0)
    #expect(queue.becameFree(1, at: Self.at(0)) == .write([0]), "the other was woken already")
    #expect(queue.becameFree(0, at: Self.at(0)) == .write([1]))
  }

  @Test func aSubmissionGreaterThanABatchGoesAlone() {
    var queue = Self.idleQueue(writers: 1, batchMax: 50)
    enqueue(0, &queue, rows: 60)
    enqueue(1, &queue, rows: 1)
    #expect(queue.becameFree(0, at: Self.at(0)) == .write([0]))
  }

  @Test func oneBatchHasOfEveryTenant() {
    var queue = Self.idleQueue(writers: 1, batchMax: 30)
    for submission in 0..<100 { enqueue(submission, &queue) }
    enqueue(1000, &queue, of: TenantKey(rawValue: 2))
    guard case .write(let batch) = queue.becameFree(0, at: Self.at(0)).action else {
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
    #expect(queue.becameFree(0, at: Self.at(0)) == .write([2]))
    #expect(queue.cancel(second) == nil)
  }

  @Test func aWriterWhoseCallsHaveAllGivenUpGoesToSleep() {
    var queue = Self.idleQueue(writers: 1)
    guard case .waits(let ticket, let wake) = queue.enqueue(1, of: Self.tenant, size: .init(count: 1)) else { return }
    #expect(wake == 0 && queue.cancel(ticket) == 1)
    #expect(queue.becameFree(0, at: Self.at(0)) == .sleep())
    #expect(enqueue(2, &queue) == 0)
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
    _ = queue.becameFree(1, at: Self.at(0))
    enqueue(1, &queue)
    _ = queue.becameFree(0, at: Self.at(0))
    #expect(queue.close() == [0], "the other is at its batch")
    #expect(queue.becameFree(0, at: Self.at(1)) == .write([1]))
    #expect(queue.written(by: 0, isConnected: true, at: Self.at(2)) == .stop)
    #expect(queue.written(by: 1, isConnected: true, at: Self.at(2)) == .stop)
  }

  @Test func aWriterConnectsWhenItIsNeeded() {
    var queue = Queue(
      writerCount: 1, queue: .init(sizeMax: .init(count: 10), tenantSizeMax: .init(count: 10)),
      batchMax: .init(count: 10))
    #expect(queue.becameFree(0, at: Self.at(0)) == .sleep())
    enqueue(0, &queue)
    #expect(queue.becameFree(0, at: Self.at(0)) == .connect)
    #expect(queue.connected(0, true, at: Self.at(0)) == .write([0]))
  }

  @Test func aWriterWithoutAConnectionLeavesTheWorkToTheOther() {
    var queue = Self.idleQueue()
    #expect(queue.connected(1, false, at: Self.at(0)) == .sleep())
    #expect(enqueue(0, &queue) == 0)
    #expect(queue.becameFree(0, at: Self.at(0)) == .write([0]))
    #expect(enqueue(1, &queue, rows: 40) == 1)
    #expect(queue.becameFree(1, at: Self.at(0)) == .sleep(until: Self.at(1000)))
    #expect(queue.becameFree(1, at: Self.at(1000)) == .connect, "it tries again")
    #expect(queue.connected(1, false, at: Self.at(1000)) == .sleep(until: Self.at(2000)))
  }

  @Test func aWriterWithoutAConnectionCallsOneThatHas() {
    var queue = Self.idleQueue()
    enqueue(0, &queue)
    _ = queue.becameFree(1, at: Self.at(0))
    enqueue(1, &queue)
    #expect(
      queue.written(by: 1, isConnected: false, at: Self.at(1)) == .sleep(until: Self.at(1001)), "the other was woken")
    #expect(queue.becameFree(0, at: Self.at(1)) == .write([1]))
  }

  @Test func aWriterThatHasItsConnectionIsWokenFirst() {
    var queue = Self.idleQueue(writers: 3)
    _ = queue.connected(2, false, at: Self.at(0))
    _ = queue.connected(1, false, at: Self.at(0))
    #expect(enqueue(0, &queue) == 0)
  }

  @Test func whereNoWriterHasAConnectionTheWorkIsTriedAllTheSame() {
    var queue = Self.idleQueue()
    _ = queue.connected(0, false, at: Self.at(0))
    _ = queue.connected(1, false, at: Self.at(0))
    enqueue(0, &queue)
    #expect(queue.becameFree(1, at: Self.at(0)) == .write([0]))
  }

  @Test func knowsHowLongTheSlowestWriterHasBeenAtItsBatch() {
    var queue = Self.idleQueue()
    #expect(queue.longestWrite(at: Self.at(0)) == nil)
    enqueue(0, &queue)
    _ = queue.becameFree(1, at: Self.at(0))
    enqueue(1, &queue, rows: 40)
    _ = queue.becameFree(0, at: Self.at(10))
    #expect(queue.longestWrite(at: Self.at(15)) == .milliseconds(15))
    _ = queue.written(by: 1, isConnected: true, at: Self.at(15))
    #expect(queue.longestWrite(at: Self.at(15)) == .milliseconds(5))
  }

  /// Whatever comes in whatever order: nothing is lost or written twice, nothing waits for longer than its patience
  /// where a writer is free, and in the end all is written.
  @Test func writesEverythingOnceAndInTime() {
    var random = SeededGenerator()
    for _ in 0..<200 {
      var world = CommitQueueWorld(random: random)
      if let fault = world.run() {
        Issue.record("\(fault), seed \(random.seed)")
        return
      }
      random = SeededGenerator()
    }
  }
}

extension CommitQueue.Step: Equatable where Submission: Equatable {
  static func write(_ batch: [Submission], wake: Int? = nil) -> Self { Self(.write(batch), wake: wake) }
  static func sleep(until: ContinuousClock.Instant? = nil, wake: Int? = nil) -> Self {
    Self(.sleep(until: until), wake: wake)
  }
  static var connect: Self { Self(.connect) }
  static var stop: Self { Self(.stop) }

  static func == (a: Self, b: Self) -> Bool {
    guard a.wake == b.wake else { return false }
    return switch (a.action, b.action) {
    case (.write(let a), .write(let b)): a == b
    case (.sleep(let a), .sleep(let b)): a == b
    case (.connect, .connect), (.stop, .stop): true
    default: false
    }
  }
}
