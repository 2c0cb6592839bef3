/// The calls of one connection that wait for their responses, by their streams.
///
/// Streams rise by two and are answered nearly in order, so that a ring indexed by the stream is enough; it grows when
/// a call is so slow that the ring has come round to it.
struct CallsInFlight {
  struct Call {
    /// 0: no call.
    var stream: UInt32 = 0
    var operation = BenchOperation.record
    var records: Int32 = 0
    /// When it was sent or, at a given rate, due.
    var start: Int64 = 0
  }

  private var ring: [Call]
  private(set) var count = 0

  init(expected: Int) {
    var size = 16
    while size < 2 * expected { size *= 2 }
    ring = Array(repeating: Call(), count: size)
  }

  private func place(_ stream: UInt32) -> Int { Int(stream >> 1) & (ring.count - 1) }

  mutating func insert(_ call: Call) {
    while ring[place(call.stream)].stream != 0 { grow() }
    ring[place(call.stream)] = call
    count += 1
  }

  func call(on stream: UInt32) -> Call? {
    let call = ring[place(stream)]
    return call.stream == stream && stream != 0 ? call : nil
  }

  mutating func remove(_ stream: UInt32) -> Call? {
    guard let call = call(on: stream) else { return nil }
    ring[place(stream)].stream = 0
    count -= 1
    return call
  }

  mutating func removeAll() -> [Call] {
    let calls = ring.filter { $0.stream != 0 }
    ring = Array(repeating: Call(), count: ring.count)
    count = 0
    return calls
  }

  var streams: [UInt32] { ring.map(\.stream).filter { $0 != 0 } }

  private mutating func grow() {
    let calls = ring.filter { $0.stream != 0 }
    ring = Array(repeating: Call(), count: 2 * ring.count)
    for call in calls { ring[place(call.stream)] = call }
  }
}
