import NIOCore

/// Things in the order they came, any of which may be taken out in constant time.
struct AgeQueue<Element> {
  struct Ticket: Hashable {
    fileprivate var number: UInt64
  }

  private var elements: [Ticket: (element: Element, since: NIODeadline)] = [:]
  /// Holds the tickets of elements that were taken out too, until they are as many as those that are in.
  private var order = CircularBuffer<Ticket>()
  private var lastNumber: UInt64 = 0

  var count: Int { elements.count }

  /// The oldest, and since when it is in; nil where there is none.
  var oldest: (element: Element, since: NIODeadline)? {
    mutating get {
      dropRemoved()
      return order.first.flatMap { elements[$0] }
    }
  }

  mutating func append(_ element: Element, at now: NIODeadline) -> Ticket {
    lastNumber += 1
    let ticket = Ticket(number: lastNumber)
    elements[ticket] = (element, now)
    order.append(ticket)
    return ticket
  }

  @discardableResult
  mutating func remove(_ ticket: Ticket) -> Element? {
    guard let (element, _) = elements.removeValue(forKey: ticket) else { return nil }
    if order.count > 2 * elements.count + 64 {
      order = CircularBuffer(order.lazy.filter { [elements] in elements[$0] != nil })
    }
    return element
  }

  mutating func removeOldest() -> Element? {
    dropRemoved()
    return order.first.flatMap { remove($0) }
  }

  /// Makes the oldest the newest. Its ticket stays.
  mutating func renewOldest(at now: NIODeadline) {
    dropRemoved()
    guard let ticket = order.popFirst() else { return }
    elements[ticket]?.since = now
    order.append(ticket)
  }

  private mutating func dropRemoved() {
    while let first = order.first, elements[first] == nil { order.removeFirst() }
  }
}
