import Core
import TestSupport
import Testing

@testable import Service

@Suite struct PoolQueueTests {
  typealias Queue = PoolQueue<String>

  private static let start = ContinuousClock.now
  private static let a = Tenant.a
  private static let b = Tenant.b

  private static func at(_ milliseconds: Int) -> ContinuousClock.Instant { start + .milliseconds(milliseconds) }

  private static func queue(_ connections: Int = 2, scansMax: Int = 1, waitingMax: Int = 100) -> Queue {
    Queue(connectionCount: connections, scansMax: scansMax, waitingMax: waitingMax, waitingPerTenantMax: waitingMax / 2)
  }

  /// A connection at once.
  private func lease(
    _ queue: inout Queue, _ kind: ReadKind = .get, of tenant: Tenant = a, at time: Int = 0
  ) -> Queue.Lease? {
    guard case .lease(let lease) = queue.acquire("", of: tenant, kind, at: Self.at(time)) else { return nil }
    return lease
  }

  @discardableResult
  private func wait(
    _ waiter: String, _ queue: inout Queue, of tenant: Tenant = a, _ kind: ReadKind = .get
  ) -> Queue.Ticket? {
    guard case .waits(let ticket) = queue.acquire(waiter, of: tenant, kind, at: Self.at(0)) else {
      Issue.record("\(waiter) does not wait")
      return nil
    }
    return ticket
  }

  private func release(
    _ lease: Queue.Lease?, _ queue: inout Queue, isConnected: Bool = true
  ) -> (next: [String], triesAgain: Bool) {
    let triesAgain = queue.release(lease!, isConnected: isConnected, at: Self.at(0))
    return (queue.serve(at: Self.at(0)).map(\.waiter), triesAgain)
  }

  @Test func usesTheConnectionThatWasUsedLast() {
    var queue = Self.queue(3)
    let first = lease(&queue)
    _ = release(first, &queue)
    #expect(lease(&queue) == first, "no second is opened for one read after the other")
  }

  @Test func handsAConnectionToTheTenantWhoseTurnItIs() {
    var queue = Self.queue(1)
    let held = lease(&queue)
    for waiter in ["a1", "a2", "a3"] { wait(waiter, &queue) }
    wait("b1", &queue, of: Self.b)
    var order: [String] = []
    for _ in 0..<4 { order += release(held, &queue).next }
    #expect(order == ["a1", "b1", "a2", "a3"])
  }

  @Test func listsDoNotWaitForScansNorGetsForLists() {
    var queue = Self.queue(4)
    #expect(lease(&queue, .scan) != nil)
    for place in 0..<20 { wait("scan \(place)", &queue, .scan) }
    for _ in 0..<2 { #expect(lease(&queue, .list) != nil) }
    for place in 0..<20 { wait("list \(place)", &queue, .list) }
    #expect(lease(&queue, .get) != nil)
    wait("get", &queue)
    #expect(ReadKind.allCases.map { queue.waitingCount($0) } == [1, 20, 20])
  }

  @Test func whileSeveralTenantsReadEachHasAQuarterOfTheConnectionsForLists() {
    var queue = Self.queue(8)
    #expect(lease(&queue, of: Self.b) != nil)
    let lists = (0..<2).map { _ in lease(&queue, .list) }
    wait("a's third list", &queue, .list)
    #expect(lease(&queue) != nil, "its gets do not wait for that")
    #expect(lease(&queue, .scan) != nil, "nor do its scans")
    wait("b's list", &queue, of: Self.b, .list)
    #expect(queue.serve(at: Self.at(0)).map(\.waiter) == ["b's list"], "nor do others' lists")
    #expect(release(lists[0], &queue).next == ["a's third list"])
  }

  @Test func aTenantWhoseListsFloodInGetsItsScanInTurn() {
    var queue = Self.queue(5)
    let scan = lease(&queue, .scan, of: Self.b)
    #expect(lease(&queue, .list) != nil)
    for place in 0..<3 { wait("b's scan \(place)", &queue, of: Self.b, .scan) }
    wait("a's scan", &queue, .scan)
    for _ in 0..<3 { wait("a's list", &queue, .list) }
    #expect(release(scan, &queue).next == ["b's scan 0"])
    #expect(release(scan, &queue).next == ["a's scan"])
  }

  @Test func aTenantThatReadsAloneAgainHasAllConnectionsButOneForLists() {
    var queue = Self.queue(8)
    _ = release(lease(&queue, of: Self.b), &queue)
    let lists = (0..<2).map { _ in lease(&queue, .list) }
    for place in 0..<20 { wait("\(place)", &queue, .list) }
    #expect(queue.serve(at: Self.at(1001)).map(\.waiter) == (0..<5).map { "\($0)" })
    #expect(lists.allSatisfy { $0 != nil })
  }

  @Test func aReadUnderWayCountsAsReadingHoweverLongItTakes() {
    var queue = Self.queue(4)
    #expect(lease(&queue, .scan, of: Self.b) != nil)
    #expect(lease(&queue, .list, at: 60_000) != nil)
    #expect(lease(&queue, .list, at: 60_000) == nil)
  }

  @Test func nobodyOvertakesWhoHasWaitedForLonger() {
    var queue = Self.queue(4)
    _ = release(lease(&queue, of: Self.b), &queue)
    #expect(lease(&queue, .list) != nil)
    wait("first", &queue, .list)
    // Its tenant reads alone by now: there is a connection for it.
    guard case .waits = queue.acquire("second", of: Self.a, .list, at: Self.at(1001)) else {
      Issue.record("the second overtakes the first")
      return
    }
    #expect(queue.serve(at: Self.at(1001)).map(\.waiter) == ["first", "second"])
  }

  @Test func everyKindIsServedWhileTheOthersFloodIn() {
    for connections in 1...4 {
      var queue = Self.queue(connections)
      var leases: [Queue.Lease] = []
      for _ in 0..<connections { leases.append(lease(&queue)!) }
      for kind in ReadKind.allCases {
        for _ in 0..<40 { wait("\(kind)", &queue, kind) }
      }
      var served: [String: Int] = [:]
      for _ in 0..<30 {
        _ = queue.release(leases.removeFirst(), isConnected: true, at: Self.at(0))
        for (waiter, lease) in queue.serve(at: Self.at(0)) {
          served[waiter, default: 0] += 1
          leases.append(lease)
        }
      }
      #expect(served.count == 3 && served.values.min()! >= 6, "\(connections) connections: \(served)")
    }
  }

  @Test func boundsWhatWaitsOverAllAndForEachTenant() {
    var queue = Self.queue(1, waitingMax: 4)
    _ = lease(&queue)
    wait("a1", &queue)
    wait("a2", &queue)
    guard case .full = queue.acquire("a3", of: Self.a, .get, at: Self.at(0)) else {
      Issue.record("a tenant may fill half")
      return
    }
    wait("b1", &queue, of: Self.b)
  }

  @Test func whoGivesUpIsPassedOver() {
    var queue = Self.queue(1)
    let held = lease(&queue)
    let ticket = wait("first", &queue)!
    wait("second", &queue)
    #expect(queue.cancel(ticket) == "first")
    #expect(queue.cancel(ticket) == nil)
    #expect(release(held, &queue).next == ["second"])
  }

  @Test func aConnectionThatCannotBeMadeRestsWhileAnotherIsOfUse() {
    var queue = Self.queue(2)
    let (first, second) = (lease(&queue), lease(&queue))
    #expect(release(second, &queue, isConnected: false).triesAgain)
    wait("waits", &queue)
    #expect(release(first, &queue).next == ["waits"])
    // Once its rest is over it is tried again.
    #expect(lease(&queue, at: 999) == nil)
    #expect(queue.serve(at: Self.at(1000)).map(\.lease) == [second!])
  }

  @Test func whereNoneIsOfUseEachIsTriedForWhoeverAsks() {
    var queue = Self.queue(2)
    let (first, second) = (lease(&queue), lease(&queue))
    #expect(release(first, &queue, isConnected: false).triesAgain)
    let last = release(second, &queue, isConnected: false)
    #expect(!last.triesAgain, "its reader is told")
    #expect(lease(&queue) != nil && lease(&queue) != nil)
  }
}

@Suite struct ConnectionBudgetTests {
  private func parts(_ total: Int?, _ readers: Int? = nil) -> [Int]? {
    ConnectionBudget(total: total, readers: readers).map { [$0.total, $0.writers, $0.readers] }
  }

  @Test func isTenUnlessTold() {
    #expect(parts(nil) == [10, 2, 5])
    #expect(ConnectionBudget.standard.total == 10)
  }

  @Test func hasOneOfEachKindAtLeast() {
    #expect(parts(5) == nil)
    #expect(parts(6) == [6, 1, 2])
    #expect(parts(7) == [7, 2, 2])
    #expect(parts(8) == [8, 2, 3])
    #expect(parts(32) == [32, 2, 27])
  }

  @Test func takesTheReadersItIsTold() {
    #expect(parts(nil, 1) == [6, 2, 1])
    #expect(parts(nil, 64) == [69, 2, 64])
    #expect(parts(8, 4) == [8, 1, 4])
    #expect(parts(20, 4) == [9, 2, 4], "no more than are of use")
    #expect(parts(8, 5) == nil)
  }

  @Test func neverPassesItsTotal() {
    for total in 0...80 {
      for readers in [nil, 1, 2, 5, 30, 64] {
        guard let budget = ConnectionBudget(total: total, readers: readers) else { continue }
        #expect(budget.total <= total && budget.writers >= 1 && budget.readers >= readers ?? 2)
        #expect(budget.scansMax < budget.readers || budget.readers == 1)
      }
    }
  }
}
