/// Elements that wait, served tenant by tenant in turn; a tenant's own keep their order.
///
/// A turn is `turnCount` long. A tenant that took more, by one element of great count, is passed over until it has
/// paid that back; so a tenant of batches gets no more than a tenant of single calls. (Deficit round robin: Shreedhar
/// and Varghese, Efficient Fair Queueing using Deficit Round Robin, 1995.)
///
/// The queue is bounded in count and bytes, over all and for each tenant, so that no tenant keeps the others out. To
/// enqueue, to remove and to take the next each cost the same however many wait.
struct FairQueue<Tenant: Hashable, Element> {
  struct Size: Equatable {
    var count: Int
    var bytes: Int

    init(count: Int = 0, bytes: Int = 0) {
      self.count = count
      self.bytes = bytes
    }

    static var unlimited: Size { Size(count: .max, bytes: .max) }

    func fits(into room: Size) -> Bool { count <= room.count && bytes <= room.bytes }

    static func + (a: Size, b: Size) -> Size { Size(count: a.count + b.count, bytes: a.bytes + b.bytes) }
    static func += (a: inout Size, b: Size) { a = a + b }
    static func -= (a: inout Size, b: Size) { a = Size(count: a.count - b.count, bytes: a.bytes - b.bytes) }
  }

  /// Names an element from when it was enqueued, also when it waits no longer.
  struct Ticket: Hashable {
    fileprivate var slot: Int
    fileprivate var number: UInt64
  }

  /// What is to be known of an element, kept apart from it: to read this touches no reference count.
  private struct Note {
    /// 0 once it waits no longer.
    var number: UInt64
    var size: Size
    var lane: Int
  }

  /// What waits of one tenant, whose name is kept apart for the same reason; there is none without an element.
  private struct Lane {
    var elements = LinkedSlots<Element>.List()
    var size = Size()
    /// What is left of its turn; below zero, what it owes.
    var credit: Int
  }

  /// What a tenant's turn has come to.
  struct Turn {
    var tenant: Tenant
    var tickets: [Ticket] = []
    /// In the same order.
    var elements: [Element] = []
  }

  private let sizeMax: Size
  private let tenantSizeMax: Size
  private let turnCount: Int
  private var elements = LinkedSlots<Element>()
  /// By the elements' slots.
  private var notes: [Note] = []
  private var lanes = LinkedSlots<Lane>()
  /// By the lanes' slots.
  private var tenants: [Tenant] = []
  /// In the order of their turns; the first one's is under way.
  private var turns = LinkedSlots<Lane>.List()
  private var laneOfTenant: [Tenant: Int] = [:]
  private var lastNumber: UInt64 = 0

  /// What waits.
  private(set) var size = Size()

  init(sizeMax: Size, tenantSizeMax: Size, turnCount: Int = 1) {
    self.sizeMax = sizeMax
    self.tenantSizeMax = tenantSizeMax
    self.turnCount = turnCount
  }

  var isEmpty: Bool { turns.isEmpty }

  /// The tenants of which something waits.
  var tenantsCount: Int { laneOfTenant.count }

  /// Something waits of this tenant, and of no other.
  func isOf(only tenant: Tenant) -> Bool { laneOfTenant.count == 1 && laneOfTenant[tenant] != nil }

  /// - Returns: nil where it does not fit. A lone element always does, whatever its size.
  mutating func enqueue(_ element: Element, of tenant: Tenant, size: Size = Size(count: 1)) -> Ticket? {
    let known = laneOfTenant[tenant]
    let waiting = known.map { lanes[$0].size } ?? Size()
    guard isEmpty || (self.size + size).fits(into: sizeMax) && (waiting + size).fits(into: tenantSizeMax) else {
      return nil
    }
    let lane = known ?? add(tenant)
    lastNumber += 1
    let slot = elements.append(element, to: &lanes[lane].elements)
    let note = Note(number: lastNumber, size: size, lane: lane)
    if slot < notes.count { notes[slot] = note } else { notes.append(note) }
    lanes[lane].size += size
    self.size += size
    return Ticket(slot: slot, number: lastNumber)
  }

  /// Takes an element off the queue; nil where it waits no longer.
  mutating func remove(_ ticket: Ticket) -> Element? {
    notes[ticket.slot].number == ticket.number ? take(ticket.slot) : nil
  }

  /// Takes the element whose turn it is; nil where none waits, or where it does not fit into `room`.
  mutating func next(within room: Size = .unlimited) -> Element? {
    while let lane = turns.first {
      if lanes[lane].credit <= 0 {
        endTurn(of: lane)
        continue
      }
      let slot = lanes[lane].elements.first!
      guard notes[slot].size.fits(into: room) else { return nil }
      lanes[lane].credit -= notes[slot].size.count
      return take(slot)
    }
    return nil
  }

  /// Takes up to so many elements of the first tenant in turn that may have one, and ends its turn.
  mutating func nextTurn(countMax: Int, where mayHave: (Tenant) -> Bool = { _ in true }) -> Turn? {
    var next = turns.first
    while let lane = next, !mayHave(tenants[lane]) { next = lanes.slot(after: lane) }
    guard let lane = next else { return nil }
    lanes.moveToEnd(lane, of: &turns)
    var turn = Turn(tenant: tenants[lane])
    var isLast = false
    while turn.elements.count < countMax, !isLast {
      let slot = lanes[lane].elements.first!
      isLast = lanes[lane].elements.isSingle
      turn.tickets.append(Ticket(slot: slot, number: notes[slot].number))
      turn.elements.append(take(slot))
    }
    return turn
  }

  private mutating func add(_ tenant: Tenant) -> Int {
    let lane = lanes.append(Lane(credit: turnCount), to: &turns)
    if lane < tenants.count { tenants[lane] = tenant } else { tenants.append(tenant) }
    laneOfTenant[tenant] = lane
    return lane
  }

  private mutating func endTurn(of lane: Int) {
    lanes[lane].credit += turnCount
    lanes.moveToEnd(lane, of: &turns)
  }

  private mutating func take(_ slot: Int) -> Element {
    let (lane, size) = (notes[slot].lane, notes[slot].size)
    notes[slot].number = 0
    let element = elements.remove(slot, from: &lanes[lane].elements)
    lanes[lane].size -= size
    self.size -= size
    if lanes[lane].elements.isEmpty {
      laneOfTenant[tenants[lane]] = nil
      _ = lanes.remove(lane, from: &turns)
    }
    return element
  }
}
