/// Doubly linked lists that share one array of slots. To append and to remove cost the same however long the lists
/// are, and allocate nothing once the array has grown.
struct LinkedSlots<Value> {
  /// The ends of one list. Whoever owns it keeps to the slots that were given out for it.
  struct List {
    fileprivate(set) var first: Int?
    fileprivate var last: Int?

    var isEmpty: Bool { first == nil }
    /// Of two slots and more, the first is not the last.
    var isSingle: Bool { first != nil && first == last }
  }

  private struct Slot {
    /// nil for a free slot.
    var value: Value?
    var previous: Int?
    /// In a list, or among the free slots.
    var next: Int?
  }

  private var slots: [Slot] = []
  private var firstFree: Int?
  private var usedCount = 0

  /// Traps for a free slot.
  subscript(slot: Int) -> Value {
    get { slots[slot].value! }
    _modify { yield &slots[slot].value! }
  }

  /// The next one in its list.
  func slot(after slot: Int) -> Int? { slots[slot].next }

  mutating func append(_ value: Value, to list: inout List) -> Int {
    let slot: Int
    if let free = firstFree {
      slot = free
      firstFree = slots[free].next
      slots[slot] = Slot(value: value, previous: list.last, next: nil)
    } else {
      slot = slots.count
      slots.append(Slot(value: value, previous: list.last, next: nil))
    }
    usedCount += 1
    link(slot, atEndOf: &list)
    return slot
  }

  mutating func remove(_ slot: Int, from list: inout List) -> Value {
    unlink(slot, from: &list)
    let value = slots[slot].value.take()!
    slots[slot].previous = nil
    slots[slot].next = firstFree
    firstFree = slot
    usedCount -= 1
    if usedCount == 0, slots.count > 1024 {
      // Gives back what a crowd has left.
      slots = []
      firstFree = nil
    }
    return value
  }

  mutating func moveToEnd(_ slot: Int, of list: inout List) {
    guard slot != list.last else { return }
    unlink(slot, from: &list)
    slots[slot].previous = list.last
    slots[slot].next = nil
    link(slot, atEndOf: &list)
  }

  private mutating func link(_ slot: Int, atEndOf list: inout List) {
    if let last = list.last { slots[last].next = slot } else { list.first = slot }
    list.last = slot
  }

  private mutating func unlink(_ slot: Int, from list: inout List) {
    let (previous, next) = (slots[slot].previous, slots[slot].next)
    if let previous { slots[previous].next = next } else { list.first = next }
    if let next { slots[next].previous = previous } else { list.last = previous }
  }
}
