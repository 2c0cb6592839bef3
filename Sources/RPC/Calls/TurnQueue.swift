import NIOCore

/// Work that waits, served lane by lane in turn, as a value. A tenant has a lane.
struct TurnQueue<Work> {
  /// What waits of one tenant. It is its queue's to change.
  final class Lane {
    fileprivate var works = CircularBuffer<Work>(initialCapacity: 4)
  }

  /// Those with work, in the order of their turns.
  private var lanes = CircularBuffer<Lane>(initialCapacity: 16)

  var isEmpty: Bool { lanes.isEmpty }

  mutating func add(_ work: Work, of lane: Lane) {
    if lane.works.isEmpty { lanes.append(lane) }
    lane.works.append(work)
  }

  mutating func next() -> Work? {
    guard let lane = lanes.popFirst() else { return nil }
    let work = lane.works.removeFirst()
    if !lane.works.isEmpty { lanes.append(lane) }
    return work
  }
}
