import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(1))) struct FairQueueTests {
  typealias Queue = FairQueue<Int, Int>

  private static func queue(count: Int = 1000, perTenant: Int = 1000, turn: Int = 1) -> Queue {
    Queue(
      sizeMax: .init(count: count, bytes: count), tenantSizeMax: .init(count: perTenant, bytes: perTenant),
      turnCount: turn)
  }

  private static func all(_ queue: inout Queue) -> [Int] {
    var elements: [Int] = []
    while let element = queue.next() { elements.append(element) }
    return elements
  }

  @Test func keepsTheOrderOfOneTenant() {
    var queue = Self.queue()
    for element in 0..<100 { #expect(queue.enqueue(element, of: 7) != nil) }
    #expect(Self.all(&queue) == Array(0..<100))
    #expect(queue.isEmpty && queue.size == .init())
  }

  @Test func servesTenantsInTurn() {
    var queue = Self.queue()
    for element in 0..<4 { _ = queue.enqueue(element, of: 0) }
    for element in 10..<12 { _ = queue.enqueue(element, of: 1) }
    _ = queue.enqueue(20, of: 2)
    #expect(Self.all(&queue) == [0, 10, 20, 1, 11, 2, 3])
  }

  @Test func servesATenantThatComesAfterAFloodWithinOneTurn() {
    var queue = Self.queue(turn: 8)
    for element in 0..<500 { _ = queue.enqueue(element, of: 0) }
    _ = queue.enqueue(1000, of: 1)
    #expect(Self.all(&queue).firstIndex(of: 1000)! <= 8)
  }

  @Test func givesATenantOfBatchesNoMoreThanATenantOfSingleCalls() {
    var queue = Self.queue(count: 10_000, perTenant: 10_000, turn: 10)
    for batch in 0..<5 { _ = queue.enqueue(-batch - 1, of: 0, size: .init(count: 1000)) }
    for single in 0..<4000 { _ = queue.enqueue(single, of: 1) }
    var served = (batches: 0, singles: 0)
    for _ in 0..<3000 {
      if queue.next()! < 0 { served.batches += 1000 } else { served.singles += 1 }
      #expect(served.batches - served.singles <= 1010)
    }
  }

  @Test func letsNoTenantTakeTheRoomOfOthers() {
    var queue = Self.queue(count: 10, perTenant: 5)
    for element in 0..<5 { #expect(queue.enqueue(element, of: 0) != nil) }
    #expect(queue.enqueue(5, of: 0) == nil)
    #expect(queue.enqueue(6, of: 1, size: .init(count: 5)) != nil)
    #expect(queue.enqueue(7, of: 2) == nil, "the whole is full")
    #expect(queue.next() == 0)
    #expect(queue.enqueue(8, of: 0) != nil, "there is room again")
  }

  @Test func boundsBytesAsItDoesTheCount() {
    var queue = Queue(sizeMax: .init(count: 100, bytes: 10), tenantSizeMax: .init(count: 100, bytes: 6))
    #expect(queue.enqueue(0, of: 0, size: .init(count: 1, bytes: 6)) != nil)
    #expect(queue.enqueue(1, of: 0, size: .init(count: 1, bytes: 1)) == nil)
    #expect(queue.enqueue(2, of: 1, size: .init(count: 1, bytes: 5)) == nil)
    #expect(queue.enqueue(3, of: 1, size: .init(count: 1, bytes: 4)) != nil)
  }

  @Test func takesALoneElementOfAnySize() {
    var queue = Self.queue(count: 2, perTenant: 1)
    #expect(queue.enqueue(0, of: 0, size: .init(count: 50, bytes: 5000)) != nil)
    #expect(queue.enqueue(1, of: 1) == nil)
    #expect(queue.next() == 0)
    #expect(queue.size == .init())
  }

  @Test func leavesWhatDoesNotFit() {
    var queue = Self.queue()
    _ = queue.enqueue(0, of: 0, size: .init(count: 5))
    #expect(queue.next(within: .init(count: 4)) == nil)
    #expect(queue.next(within: .init(count: 5)) == 0)
  }

  @Test func takesATurnAtOnce() {
    var queue = Self.queue()
    for element in 0..<5 { _ = queue.enqueue(element, of: 0) }
    for element in 10..<12 { _ = queue.enqueue(element, of: 1) }
    func turn() -> [Int]? { queue.nextTurn(countMax: 3)?.elements }
    #expect(turn() == [0, 1, 2])
    #expect(turn() == [10, 11])
    #expect(turn() == [3, 4])
    #expect(turn() == nil)
  }

  @Test func aTicketIsGoodForItsOwnElementAlone() {
    var queue = Self.queue()
    let first = queue.enqueue(0, of: 0)!
    #expect(queue.remove(first) == 0)
    // It has the first one's place in memory.
    let second = queue.enqueue(1, of: 0)!
    #expect(queue.remove(first) == nil)
    #expect(queue.next() == 1)
    #expect(queue.remove(second) == nil)
  }

  /// As when a server's callers give up while the database stands still. Each step would take 100,000 if it were to
  /// look through the queue; the suite's limit is far below that.
  @Test func manyCanGiveUpWhileManyWait() {
    var random = SeededGenerator()
    let count = 200_000
    var queue = Self.queue(count: count, perTenant: count)
    let tickets = (0..<count).map { queue.enqueue($0, of: 0)! }
    for place in tickets.indices.shuffled(using: &random) {
      guard queue.remove(tickets[place]) == place else {
        Issue.record("seed \(random.seed)")
        return
      }
    }
    #expect(queue.isEmpty)
  }

  /// The same operations on the queue and on a model that does everything the long way.
  @Test func doesWhatAModelDoes() {
    var random = SeededGenerator()
    for _ in 0..<200 {
      let turn = Int.random(in: 1...8, using: &random)
      var queue = Queue(
        sizeMax: .init(count: 40, bytes: 60), tenantSizeMax: .init(count: 25, bytes: 40), turnCount: turn)
      var model = FairQueueModel(countMax: 40, bytesMax: 60, tenantCountMax: 25, tenantBytesMax: 40, turn: turn)
      var tickets: [(Queue.Ticket, Int)] = []
      for element in 0..<300 {
        let isSame: Bool
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<5:
          let tenant = Int.random(in: 0..<5, using: &random)
          let (count, bytes) = (Int.random(in: 1...12, using: &random), Int.random(in: 0...15, using: &random))
          let ticket = queue.enqueue(element, of: tenant, size: .init(count: count, bytes: bytes))
          if let ticket { tickets.append((ticket, element)) }
          isSame = (ticket != nil) == model.enqueue(element, tenant, count, bytes)
        case 5..<7:
          guard let (ticket, element) = tickets.randomElement(using: &random) else { continue }
          isSame = queue.remove(ticket) == model.remove(element)
        case 7..<9:
          let (count, bytes) = (Int.random(in: 0...20, using: &random), Int.random(in: 0...20, using: &random))
          isSame = queue.next(within: .init(count: count, bytes: bytes)) == model.next(count, bytes)
        default:
          let countMax = Int.random(in: 1...4, using: &random)
          isSame = (queue.nextTurn(countMax: countMax)?.elements ?? []) == model.nextTurn(countMax)
        }
        guard isSame, queue.size.count == model.count, queue.isEmpty == (model.lanes.isEmpty) else {
          Issue.record("differs from the model at \(element), seed \(random.seed)")
          return
        }
      }
    }
  }
}

/// The queue, told in the plainest way.
private struct FairQueueModel {
  struct Entry {
    var element: Int
    var count: Int
    var bytes: Int
  }

  struct Lane {
    var tenant: Int
    var credit: Int
    var entries: [Entry] = []
  }

  var countMax: Int
  var bytesMax: Int
  var tenantCountMax: Int
  var tenantBytesMax: Int
  var turn: Int
  var lanes: [Lane] = []

  var count: Int { lanes.flatMap(\.entries).reduce(0) { $0 + $1.count } }
  var bytes: Int { lanes.flatMap(\.entries).reduce(0) { $0 + $1.bytes } }

  mutating func enqueue(_ element: Int, _ tenant: Int, _ count: Int, _ bytes: Int) -> Bool {
    let own = lanes.first { $0.tenant == tenant }?.entries ?? []
    let fits =
      self.count + count <= countMax && self.bytes + bytes <= bytesMax
      && own.reduce(count) { $0 + $1.count } <= tenantCountMax
      && own.reduce(bytes) { $0 + $1.bytes } <= tenantBytesMax
    guard fits || lanes.isEmpty else { return false }
    if !lanes.contains(where: { $0.tenant == tenant }) { lanes.append(Lane(tenant: tenant, credit: turn)) }
    let lane = lanes.firstIndex { $0.tenant == tenant }!
    lanes[lane].entries.append(Entry(element: element, count: count, bytes: bytes))
    return true
  }

  mutating func remove(_ element: Int) -> Int? {
    for lane in lanes.indices {
      guard let place = lanes[lane].entries.firstIndex(where: { $0.element == element }) else { continue }
      lanes[lane].entries.remove(at: place)
      lanes.removeAll { $0.entries.isEmpty }
      return element
    }
    return nil
  }

  mutating func next(_ count: Int, _ bytes: Int) -> Int? {
    guard !lanes.isEmpty else { return nil }
    while lanes[0].credit <= 0 {
      lanes[0].credit += turn
      lanes.append(lanes.removeFirst())
    }
    let entry = lanes[0].entries[0]
    guard entry.count <= count, entry.bytes <= bytes else { return nil }
    lanes[0].credit -= entry.count
    return remove(entry.element)
  }

  mutating func nextTurn(_ countMax: Int) -> [Int] {
    guard !lanes.isEmpty else { return [] }
    lanes.append(lanes.removeFirst())
    let taken = lanes.last!.entries.prefix(countMax).map(\.element)
    for element in taken { _ = remove(element) }
    return taken
  }
}
