/// First in, first out. Its memory goes with what waits, also where it is never empty.
struct Fifo<Element> {
  private var elements: [Element?] = []
  /// Of `elements`, from the start.
  private var takenCount = 0

  /// The places it has in memory.
  var capacity: Int { elements.capacity }

  mutating func append(_ element: Element) { elements.append(element) }

  mutating func popFirst() -> Element? {
    guard takenCount < elements.count else { return nil }
    let first = elements[takenCount].take()
    takenCount += 1
    if takenCount == elements.count {
      elements.removeAll(keepingCapacity: elements.capacity <= 1024)
      takenCount = 0
    } else if takenCount >= 64, takenCount * 2 >= elements.count {
      // What is moved is no more than what was taken since the last time.
      elements.removeFirst(takenCount)
      takenCount = 0
    }
    return first
  }
}
