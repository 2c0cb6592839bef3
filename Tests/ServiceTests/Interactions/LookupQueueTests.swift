import Core
import Synchronization
import Testing

@testable import Service

@Suite struct LookupQueueTests {
  typealias Queue = LookupQueue<String>

  private static let a = Tenant.a
  private static let b = Tenant.b

  private static func queue(
    _ concurrency: Int = 1, perStatement: Int = 10, perSharedTurn: Int? = nil, longMax: Int = 2, waitingMax: Int = 100
  ) -> Queue {
    Queue(
      concurrency: concurrency, getsPerStatementMax: perStatement, getsPerSharedTurnMax: perSharedTurn ?? perStatement,
      longMax: longMax, waitingMax: waitingMax, waitingPerTenantMax: waitingMax / 2)
  }

  private static func withdrawn(_ cancelled: Queue.Cancelled) -> String? {
    if case .withdrawn(let waiter) = cancelled { waiter } else { nil }
  }

  private static func isAbandoned(_ cancelled: Queue.Cancelled) -> Bool {
    if case .abandoned = cancelled { true } else { false }
  }

  @Test func thoseThatComeBeforeTheStartShareAStatement() {
    var queue = Self.queue(2)
    var isToStart = [queue.isToStart()]
    for waiter in ["1", "2"] {
      _ = queue.enqueue(waiter, of: Self.a)
      isToStart.append(queue.isToStart())
    }
    #expect(isToStart == [false, true, false], "whoever came first starts both")
    #expect(queue.startNext()?.waiters == ["1", "2"])
    // The next is started by itself, and whoever comes while all statements run is by one that ends.
    for (waiter, isFirst) in [("3", true), ("4", false)] {
      _ = queue.enqueue(waiter, of: Self.a)
      let isToStart = queue.isToStart()
      #expect(isToStart == isFirst)
      if isToStart { #expect(queue.startNext()?.waiters == [waiter]) }
    }
  }

  @Test func startThatFindsNobodyLeftKeepsNobodyWaiting() {
    var queue = Self.queue()
    let ticket = queue.enqueue("1", of: Self.a)!
    var isToStart = [queue.isToStart()]
    #expect(Self.withdrawn(queue.cancel(ticket)) == "1")
    #expect(queue.startNext() == nil)
    _ = queue.enqueue("2", of: Self.a)
    isToStart.append(queue.isToStart())
    #expect(isToStart == [true, true])
  }

  @Test func oneThatTakesLongMakesRoomUpToANumberOfEachTenant() {
    var queue = Self.queue(perStatement: 1)
    for waiter in ["1", "2", "3", "4"] { _ = queue.enqueue(waiter, of: Self.a) }
    _ = queue.enqueue("5", of: Self.b)
    var keys: [String: UInt64] = [:]
    func start() -> [String] {
      guard let batch = queue.startNext() else { return [] }
      keys[batch.waiters[0]] = batch.key
      return batch.waiters
    }
    var started = [start(), start()]
    #expect(started == [["1"], []])
    var isTaken = [queue.takesLong(keys["1"]!)]
    started = [start()]
    #expect(started == [["5"]])
    queue.ended(keys["5"]!)
    started = [start()]
    isTaken.append(queue.takesLong(keys["2"]!))
    started += [start()]
    #expect(started == [["2"], ["3"]])
    isTaken.append(queue.takesLong(keys["3"]!))
    #expect(isTaken == [true, true, false])
    queue.ended(keys["3"]!)
    // One of those that took long has ended, and counts no more.
    queue.ended(keys["1"]!)
    started = [start()]
    isTaken = [queue.takesLong(keys["4"]!)]
    #expect(started == [["4"]] && isTaken == [true])
  }

  @Test func asManyStatementsRunAsMay() {
    var queue = Self.queue(2)
    _ = queue.enqueue("1", of: Self.a)
    #expect(queue.startNext()?.waiters == ["1"])
    _ = queue.enqueue("2", of: Self.a)
    #expect(queue.startNext()?.waiters == ["2"])
    _ = queue.enqueue("3", of: Self.a)
    #expect(queue.startNext() == nil)
  }

  @Test func thoseOfOneTenantThatWaitShareAStatement() {
    var queue = Self.queue()
    _ = queue.enqueue("0", of: Self.a)
    let first = queue.startNext()!
    for waiter in ["a1", "a2"] { _ = queue.enqueue(waiter, of: Self.a) }
    _ = queue.enqueue("b1", of: Self.b)
    _ = queue.enqueue("a3", of: Self.a)
    #expect(queue.startNext() == nil)
    queue.ended(first.key)
    let second = queue.startNext()!
    #expect(second.tenant == Self.a && second.waiters == ["a1", "a2", "a3"])
    queue.ended(second.key)
    let third = queue.startNext()!
    #expect(third.tenant == Self.b && third.waiters == ["b1"])
  }

  @Test func aStatementIsBoundedAndTheRestTakesAnotherTurn() {
    var queue = Self.queue(perStatement: 2)
    for place in 0..<3 { _ = queue.enqueue("a\(place)", of: Self.a) }
    _ = queue.enqueue("b", of: Self.b)
    var order: [[String]] = []
    while let batch = queue.startNext() {
      order.append(batch.waiters)
      queue.ended(batch.key)
    }
    #expect(order == [["a0", "a1"], ["b"], ["a2"]])
  }

  @Test func aTurnIsShorterWhileOtherTenantsAskToo() {
    var queue = Self.queue(perStatement: 4, perSharedTurn: 2, waitingMax: 1000)
    for place in 0..<12 { _ = queue.enqueue("a\(place)", of: Self.a) }
    var counts: [Int] = []
    func runNext() {
      let batch = queue.startNext()!
      counts.append(batch.waiters.count)
      queue.ended(batch.key)
    }
    runNext()
    #expect(counts == [4], "nobody else asks")
    _ = queue.enqueue("b0", of: Self.b)
    for _ in 0..<4 { runNext() }
    #expect(counts == [4, 2, 1, 2, 2], "the turns after another tenant's are short as well")
    for place in 0..<100 { _ = queue.enqueue("c\(place)", of: Self.a) }
    for _ in 0..<40 { runNext() }
    #expect(counts.last == 4, "for a while")
  }

  @Test func aTenantHasHalfOfTheStatementsWhileOthersAskToo() {
    var queue = Self.queue(4, perStatement: 1, perSharedTurn: 1)
    for place in 0..<6 { _ = queue.enqueue("a\(place)", of: Self.a) }
    let first = queue.startNext()!
    for waiter in ["b0", "b1", "b2"] { _ = queue.enqueue(waiter, of: Self.b) }
    var started: [String] = []
    while let batch = queue.startNext() { started += batch.waiters }
    #expect(started == ["a1", "b0", "b1"])
    queue.ended(first.key)
    #expect(queue.startNext()?.waiters == ["a2"], "b2 would be the third of its tenant")
  }

  @Test func boundsWhatWaits() {
    var queue = Self.queue(waitingMax: 4)
    #expect(queue.enqueue("a1", of: Self.a) != nil && queue.enqueue("a2", of: Self.a) != nil)
    #expect(queue.enqueue("a3", of: Self.a) == nil, "a tenant may fill half")
    #expect(queue.enqueue("b1", of: Self.b) != nil && queue.waitingCount == 3)
  }

  @Test func whoGivesUpInTheQueueIsTold() {
    var queue = Self.queue()
    let ticket = queue.enqueue("1", of: Self.a)!
    #expect(Self.withdrawn(queue.cancel(ticket)) == "1")
    #expect(queue.startNext() == nil)
  }

  @Test func aStatementIsGivenUpWithTheLastWhoAsked() {
    var queue = Self.queue()
    let tickets = ["1", "2"].map { queue.enqueue($0, of: Self.a)! }
    let batch = queue.startNext()!
    let isGivenUp = Mutex(false)
    let isOver = queue.offer({ isGivenUp.withLock { $0 = true } }, for: batch.key, isLast: true)
    #expect(!isOver)
    #expect(!Self.isAbandoned(queue.cancel(tickets[0])), "another waits for it")
    #expect(!Self.isAbandoned(queue.cancel(tickets[0])), "giving up twice is giving up once")
    guard case .abandoned(let giveUp?) = queue.cancel(tickets[1]) else {
      Issue.record("nobody waits for the statement")
      return
    }
    giveUp()
    #expect(isGivenUp.withLock { $0 })
  }

  @Test func whatWasGivenUpBeforeItCouldBeIsGivenUpAtOnce() {
    var queue = Self.queue()
    let ticket = queue.enqueue("1", of: Self.a)!
    let batch = queue.startNext()!
    #expect(Self.isAbandoned(queue.cancel(ticket)))
    let isAbandoned = queue.offer({}, for: batch.key, isLast: true)
    #expect(isAbandoned)
    queue.ended(batch.key)
    let isStillAbandoned = queue.offer({}, for: batch.key, isLast: true)
    #expect(!isStillAbandoned, "it is over")
  }

  @Test func theWayOutOfTheQueueDoesNotReplaceTheStatements() {
    var queue = Self.queue()
    let ticket = queue.enqueue("1", of: Self.a)!
    let batch = queue.startNext()!
    let outcome = Mutex("")
    _ = queue.offer({ outcome.withLock { $0 = "statement" } }, for: batch.key, isLast: true)
    _ = queue.offer({ outcome.withLock { $0 = "queue" } }, for: batch.key, isLast: false)
    guard case .abandoned(let giveUp?) = queue.cancel(ticket) else { return }
    giveUp()
    #expect(outcome.withLock { $0 } == "statement")
  }
}
