import TestSupport

extension RawHTTP2Peer {
  /// Does something at random: what a client does, what it may not do, or what is no frame at all.
  ///
  /// - Parameter streamsMax: how many streams it uses.
  mutating func doSomething(streamsMax: Int, using chance: inout SeededGenerator) {
    let stream = 2 * Int.random(in: 0..<streamsMax, using: &chance) + 1
    let method = ["Wait", "Stream", "Unknown"].randomElement(using: &chance)!
    switch Int.random(in: 0..<100, using: &chance) {
    case 0..<25: open("/stub/\(method)", on: stream)
    case 25..<27: headers(malformed(&chance), on: stream, flags: .random(in: 4...5, using: &chance))
    case 27..<30:
      open(
        "/stub/\(method)", on: stream, [("x", String(repeating: "x", count: .random(in: 0..<80_000, using: &chance)))])
    case 30..<60:
      let size = Int.random(in: 0..<[8, 500, 100_000].randomElement(using: &chance)!, using: &chance)
      send([UInt8](repeating: 7, count: size), on: stream, end: .random(using: &chance))
    case 60..<68: endSending(on: stream)
    case 68..<76: reset(stream)
    case 76..<82: widenWindow(of: .random(using: &chance) ? 0 : stream, by: .random(in: 1..<100_000, using: &chance))
    case 82..<85: frame(6, flags: .random(in: 0...1, using: &chance), on: 0, chance.bytes(8))
    case 85..<87:
      frame(4, on: 0, [0, .random(in: 1...9, using: &chance)] + chance.bytes(4))
    case 87..<89: frame(2, on: stream, [0, 0, 0, .random(in: 0...9, using: &chance), 5])
    case 89..<91: frame(0, flags: .random(in: 0...9, using: &chance), on: stream, chance.bytes(20))
    case 91..<93: frame(9, flags: 4, on: stream, chance.bytes(20))
    case 93..<95: headers([("trailer", "1")], on: stream, flags: 5)
    case 95..<97: frame(1, flags: .random(in: 0...0x2f, using: &chance), on: stream, chance.bytes(30))
    case 97: frame(7, on: 0, chance.bytes(8))
    default:
      frame(
        .random(in: 0...12, using: &chance), flags: .random(in: .min ... .max, using: &chance),
        on: .random(in: 0...9, using: &chance), chance.bytes(.random(in: 0..<40, using: &chance)))
    }
  }

  /// Headers of a request, some of which are wrong, missing or there twice.
  private func malformed(_ chance: inout SeededGenerator) -> [(String, String)] {
    let some = [
      (":method", "POST"), (":scheme", "http"), (":path", "/stub/Wait"), (":authority", "/run/p.sock"), ("te", "gzip"),
      ("content-type", "application/grpc"), ("content-length", "7"), ("Upper", "1"), ("x", "a\u{0}"), (":x", "1"),
    ]
    return some.filter { _ in Int.random(in: 0..<4, using: &chance) > 0 }
      + (.random(using: &chance) ? [some.randomElement(using: &chance)!] : [])
  }
}

extension SeededGenerator {
  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in .random(in: .min ... .max, using: &self) } }

  /// Cuts bytes into pieces of any sizes.
  mutating func pieces(of bytes: [UInt8]) -> [[UInt8]] {
    var rest = bytes[...]
    var pieces: [[UInt8]] = []
    while !rest.isEmpty {
      let size = Int.random(in: 1...[3, 100, 20_000].randomElement(using: &self)!, using: &self)
      pieces.append(Array(rest.prefix(size)))
      rest = rest.dropFirst(size)
    }
    return pieces
  }
}
