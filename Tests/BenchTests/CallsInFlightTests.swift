import Testing

@testable import Bench

@Suite struct CallsInFlightTests {
  @Test func callsAreFoundInAnyOrderAndOnce() {
    var random = SeededRandom(seed: 4)
    var calls = CallsInFlight(expected: 4)
    var open: [UInt32] = []
    var stream: UInt32 = 1
    for _ in 0..<5000 {
      if open.count < 40, open.isEmpty || random.index(below: 2) == 0 {
        calls.insert(.init(stream: stream, records: Int32(stream % 1000)))
        open.append(stream)
        stream += 2
      } else {
        let chosen = open.remove(at: random.index(below: open.count))
        #expect(calls.remove(chosen)?.records == Int32(chosen % 1000))
        #expect(calls.remove(chosen) == nil)
      }
      #expect(calls.count == open.count)
    }
    #expect(Set(calls.removeAll().map(\.stream)) == Set(open))
    #expect(calls.count == 0)
  }

  @Test func aCallThatStaysIsKept() {
    var calls = CallsInFlight(expected: 2)
    calls.insert(.init(stream: 1, records: 7))
    for stream in stride(from: UInt32(3), to: 4001, by: 2) {
      calls.insert(.init(stream: stream))
      #expect(calls.remove(stream) != nil)
    }
    #expect(calls.remove(1)?.records == 7)
  }
}
