import Testing

@testable import RPC

struct TurnQueueTests {
  @Test func lanesTakeTurnsAndKeepTheirOwnOrder() {
    var queue = TurnQueue<String>()
    let (busy, quiet) = (TurnQueue<String>.Lane(), TurnQueue<String>.Lane())
    for number in 1...4 { queue.add("busy \(number)", of: busy) }
    queue.add("quiet 1", of: quiet)
    #expect(queue.next() == "busy 1" && queue.next() == "quiet 1" && queue.next() == "busy 2")
    // A lane that comes again waits for one work of each of the others.
    queue.add("quiet 2", of: quiet)
    #expect(queue.next() == "busy 3" && queue.next() == "quiet 2" && queue.next() == "busy 4")
    #expect(queue.next() == nil && queue.isEmpty)
  }
}
