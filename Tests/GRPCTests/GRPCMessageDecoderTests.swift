import Messages
import Testing

struct GRPCMessageDecoderTests {
  private static let limit = 10_000

  private func framed(_ message: [UInt8], flag: UInt8 = 0, length: Int? = nil) -> [UInt8] {
    let length = length ?? message.count
    return [flag] + (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + message
  }

  private func decoded(_ bytes: [UInt8], compression: Compression? = nil) throws(GRPCStreamError) -> [RPCMessage] {
    var decoder = GRPCMessageDecoder(compression: compression, bytesMax: Self.limit)
    decoder.append(bytes)
    return try drained(&decoder)
  }

  private func drained(_ decoder: inout GRPCMessageDecoder) throws(GRPCStreamError) -> [RPCMessage] {
    var messages: [RPCMessage] = []
    while let message = try decoder.next() { messages.append(message) }
    return messages
  }

  @Test func oneWholeMessageIsTakenWithoutBeingHeld() {
    var decoder = GRPCMessageDecoder(compression: nil, bytesMax: Self.limit)
    func whole(_ bytes: [UInt8]) -> [UInt8]? { bytes.withUnsafeBytes { decoder.whole($0)?.bytes } }
    #expect(whole(framed([])) == [] && whole(framed([1, 2, 3])) == [1, 2, 3])
    // Less, more, compressed, or too long.
    #expect(whole([]) == nil && whole([0, 0, 0, 0]) == nil && whole(framed([1, 2], length: 3)) == nil)
    #expect(whole(framed([1]) + framed([])) == nil && whole(framed([1], flag: 1)) == nil)
    #expect(whole(framed([UInt8](repeating: 0, count: Self.limit + 1))) == nil)
    decoder.append([0])
    #expect(whole(framed([1])) == nil)
  }

  @Test func messagesAreTheSameHoweverTheirBytesAreSplit() throws {
    let plain = (0..<5).map { size in [UInt8](repeating: UInt8(size), count: size * 7) }
    let bytes = plain.flatMap { framed($0) } + framed(Compression.gzip.compress(plain[4]), flag: 1)
    let expected =
      plain.map { RPCMessage(bytes: $0, wasCompressed: false) } + [RPCMessage(bytes: plain[4], wasCompressed: true)]
    #expect(try decoded(bytes, compression: .gzip) == expected)
    for cut in bytes.indices {
      var decoder = GRPCMessageDecoder(compression: .gzip, bytesMax: Self.limit)
      decoder.append(bytes[..<cut])
      let before = try drained(&decoder)
      decoder.append(bytes[cut...])
      #expect(try before + drained(&decoder) == expected, "cut at \(cut)")
      #expect(decoder.bufferedBytes == 0)
    }
    var decoder = GRPCMessageDecoder(compression: .gzip, bytesMax: Self.limit)
    var messages: [RPCMessage] = []
    for byte in bytes {
      decoder.append(CollectionOfOne(byte))
      messages += try drained(&decoder)
    }
    #expect(messages == expected)
  }

  @Test func manyMessagesInOne() throws {
    let bytes = (0..<5_000).flatMap { framed([UInt8(truncatingIfNeeded: $0)]) }
    #expect(try decoded(bytes).map { $0.bytes[0] } == (0..<5_000).map { UInt8(truncatingIfNeeded: $0) })
  }

  @Test func unfinishedMessageIsHeld() throws {
    var decoder = GRPCMessageDecoder(compression: nil, bytesMax: Self.limit)
    decoder.append(framed([1, 2, 3]) + [0, 0])
    #expect(try drained(&decoder).count == 1)
    #expect(decoder.bufferedBytes == 2)
    decoder.append([0, 0, 1])
    #expect(try decoder.next() == nil)
    decoder.append([9])
    #expect(try decoder.next()?.bytes == [9])
  }

  @Test(arguments: Compression.allCases)
  func whatIsCompressedComesBack(compression: Compression) throws {
    for size in [0, 1, 1000, Self.limit] {
      let message = (0..<size).map { UInt8(truncatingIfNeeded: $0 / 7) }
      let bytes = framed(compression.compress(message), flag: 1)
      #expect(try decoded(bytes, compression: compression) == [RPCMessage(bytes: message, wasCompressed: true)])
      // Not every message need be.
      #expect(try decoded(framed(message), compression: compression)[0].wasCompressed == false)
    }
  }

  @Test(arguments: Compression.allCases)
  func zipBombIsTooLargeAndMakesNoMore(compression: Compression) {
    for size in [Self.limit + 1, 64 << 20] {
      let bomb = framed(
        compression.compress([UInt8](repeating: 0, count: size)).prefix(Self.limit).map(\.self), flag: 1)
      #expect(throws: GRPCStreamError.messageTooLarge(bytes: Self.limit + 1)) {
        try decoded(bomb, compression: compression)
      }
    }
  }

  @Test(arguments: Compression.allCases)
  func whatIsNotCompressedRightIsMalformed(compression: Compression) {
    let right = compression.compress(Array("a message of some length, so that there is something to cut".utf8))
    let wrong = [[], [0], Array(right.dropLast()), Array(right.dropFirst()), right + [0], right + right]
    for bytes in wrong {
      #expect { try decoded(framed(bytes, flag: 1), compression: compression) } throws: { $0.isMalformed }
    }
    let other = Compression.allCases.first { $0 != compression }!
    #expect { try decoded(framed(right, flag: 1), compression: other) } throws: { $0.isMalformed }
  }

  @Test func wrongPrefixes() {
    for flag: UInt8 in [2, 3, 128, 255] {
      #expect { try decoded(framed([], flag: flag)) } throws: { $0.isMalformed }
    }
    #expect { try decoded(framed([1], flag: 1)) } throws: { $0.isMalformed }
    // Told by the prefix, before any of it came.
    for length in [Self.limit + 1, 0x7fff_ffff, 0xffff_ffff] {
      #expect(throws: GRPCStreamError.messageTooLarge(bytes: length)) { try decoded(framed([], length: length)) }
    }
    #expect(throws: Never.self) { try decoded(framed([UInt8](repeating: 1, count: Self.limit))) }
  }

  @Test func encodedIsCompressedWhereThatIsSmaller() throws {
    let long = [UInt8](repeating: 7, count: 5_000)
    #expect(GRPCMessageDecoder.encode(long, compression: nil) == framed(long))
    let compressed = GRPCMessageDecoder.encode(long, compression: .gzip)
    #expect(compressed.count < 100)
    #expect(try decoded(compressed, compression: .gzip) == [RPCMessage(bytes: long, wasCompressed: true)])
    #expect(GRPCMessageDecoder.encode([1, 2, 3], compression: .gzip) == framed([1, 2, 3]))
    #expect(GRPCMessageDecoder.encode([], compression: .deflate) == framed([]))
  }
}

extension Error {
  fileprivate var isMalformed: Bool {
    if case .malformed(let message) = self as? GRPCStreamError { !message.isEmpty } else { false }
  }
}
