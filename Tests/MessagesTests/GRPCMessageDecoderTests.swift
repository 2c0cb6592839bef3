import Messages
import TestSupport
import Testing

@Suite struct GRPCMessageDecoderTests {
  @Test func aMessageHasAPrefixOfFiveBytes() throws {
    let bytes: [UInt8] = [
      0,  // 0: compressed
      0, 0, 0, 3,  // 1-4: length
      7, 8, 9,
    ]
    #expect(GRPCMessageDecoder.encode([7, 8, 9], compression: nil) == bytes)
    #expect(GRPCMessageDecoder.prefix(of: [7, 8, 9]) == Array(bytes.prefix(5)))
    #expect(try messages(bytes) == [RPCMessage(bytes: [7, 8, 9], wasCompressed: false)])
  }

  @Test func aMessageMayHoldNothing() throws {
    #expect(try messages([0, 0, 0, 0, 0]) == [RPCMessage(bytes: [], wasCompressed: false)])
    #expect(GRPCMessageDecoder.encode([], compression: .gzip) == [0, 0, 0, 0, 0])
  }

  @Test func messagesFedByteByByteComeOutTheSame() throws {
    var decoder = GRPCMessageDecoder(compression: nil, bytesMax: 10)
    var messages: [[UInt8]] = []
    for byte in [0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 5] as [UInt8] {
      decoder.append([byte])
      while let message = try decoder.next() { messages.append(message.bytes) }
    }
    #expect(messages == [[1, 2], [], [5]])
    #expect(decoder.bufferedBytes == 0)
  }

  @Test func messagesCutAtRandomComeOutTheSame() throws {
    var chance = SeededGenerator()
    for _ in 0..<200 {
      let expected = chance.list(20) { $0.bytes(.random(in: 0...50, using: &$0)) }
      let compression = [nil, Compression.gzip, .deflate].randomElement(using: &chance)!
      var decoder = GRPCMessageDecoder(compression: compression, bytesMax: 50)
      var messages: [[UInt8]] = []
      for piece in expected.flatMap({ GRPCMessageDecoder.encode($0, compression: compression) }).cut(using: &chance) {
        decoder.append(piece)
        if Bool.random(using: &chance) {
          while let message = try decoder.next() { messages.append(message.bytes) }
        }
      }
      while let message = try decoder.next() { messages.append(message.bytes) }
      #expect(messages == expected, "seed \(chance.seed)")
    }
  }

  // MARK: Refusals

  @Test func aMessagePastTheLimitIsRefusedByItsLengthAlone() throws {
    #expect(try messages([0, 0, 0, 0, 4, 1, 2, 3, 4], bytesMax: 4).count == 1)
    #expect(throws: GRPCStreamError.messageTooLarge(bytes: 5)) { _ = try messages([0, 0, 0, 0, 5], bytesMax: 4) }
    #expect(throws: GRPCStreamError.messageTooLarge(bytes: 0xffff_ffff)) {
      _ = try messages([1, 0xff, 0xff, 0xff, 0xff], bytesMax: 4)
    }
  }

  @Test(arguments: [2, 3, 0x80, 0xff] as [UInt8]) func theFirstByteIsZeroOrOne(flag: UInt8) {
    #expect(throws: GRPCStreamError.malformed("a message's first byte is \(flag); it is 0 or 1")) {
      _ = try messages([flag, 0, 0, 0, 0])
    }
  }

  @Test func aCompressedMessageNeedsAnEncoding() {
    #expect(throws: GRPCStreamError.malformed("a message is compressed, but grpc-encoding says none is")) {
      _ = try messages([1, 0, 0, 0, 1, 0])
    }
  }

  @Test func aMessageThatIsNotOfItsEncodingIsRefused() {
    let gzip = Compression.gzip.compress([1, 2, 3])
    for bytes in [[], [0], Array(gzip.dropLast()), gzip + [0], Compression.deflate.compress([1, 2, 3])] {
      #expect(throws: GRPCStreamError.malformed("a message is not of the form its grpc-encoding, gzip, says")) {
        _ = try messages([1, 0, 0, 0, UInt8(bytes.count)] + bytes, compression: .gzip)
      }
    }
  }

  @Test func aMessageThatGrowsPastTheLimitIsRefused() throws {
    let bytes = GRPCMessageDecoder.encode([UInt8](repeating: 0, count: 1000), compression: .gzip)
    #expect(try messages(bytes, compression: .gzip, bytesMax: 1000).first?.bytes.count == 1000)
    #expect(throws: GRPCStreamError.messageTooLarge(bytes: 1000)) {
      _ = try messages(bytes, compression: .gzip, bytesMax: 999)
    }
  }

  // MARK: Compression

  @Test(arguments: Compression.allCases) func aMessageIsCompressedWhereThatMakesItSmaller(compression: Compression)
    throws
  {
    let long = [UInt8](repeating: 7, count: 10_000)
    let bytes = GRPCMessageDecoder.encode(long, compression: compression)
    #expect(bytes.first == 1)
    #expect(bytes.count < 200)
    #expect(try messages(bytes, compression: compression) == [RPCMessage(bytes: long, wasCompressed: true)])
    #expect(GRPCMessageDecoder.encode([1, 2, 3], compression: compression) == [0, 0, 0, 0, 3, 1, 2, 3])
  }

  @Test func anUncompressedMessageIsReadWhateverTheEncoding() throws {
    #expect(
      try messages([0, 0, 0, 0, 1, 9], compression: .gzip) == [RPCMessage(bytes: [9], wasCompressed: false)])
  }

  // MARK: Memory

  /// A stream of messages that never end where a read ends holds no more than one of them.
  @Test func onlyTheUnfinishedMessageIsHeld() throws {
    var decoder = GRPCMessageDecoder(compression: nil, bytesMax: 100)
    let message = GRPCMessageDecoder.encode([UInt8](repeating: 7, count: 100), compression: nil)
    decoder.append(message.prefix(50))
    for _ in 0..<1000 {
      decoder.append(message.dropFirst(50) + message.prefix(50))
      _ = try decoder.next()
    }
    let held = try #require(Mirror(reflecting: decoder).descendant("buffer") as? [UInt8])
    #expect(held.count < 1000)
  }

  private func messages(
    _ bytes: [UInt8], compression: Compression? = nil, bytesMax: Int = 100_000
  ) throws -> [RPCMessage] {
    var decoder = GRPCMessageDecoder(compression: compression, bytesMax: bytesMax)
    decoder.append(bytes)
    var messages: [RPCMessage] = []
    while let message = try decoder.next() { messages.append(message) }
    return messages
  }
}

@Suite struct CompressionTests {
  @Test(arguments: Compression.allCases) func whatIsCompressedComesBack(compression: Compression) throws {
    var chance = SeededGenerator()
    for size in [0, 1, 100, 16_383, 16_384, 16_385, 100_000] {
      let bytes = Bool.random(using: &chance) ? chance.bytes(size) : [UInt8](repeating: 7, count: size)
      let compressed = compression.compress(bytes)
      #expect(try compression.decompress(compressed, bytesMax: size) == bytes, "seed \(chance.seed)")
    }
  }

  /// A thousandth of its size says that it is 100 MB.
  @Test(arguments: Compression.allCases) func aBombIsRefusedEarly(compression: Compression) {
    let bomb = compression.compress([UInt8](repeating: 0, count: 100_000_000))
    #expect(bomb.count < 200_000)
    #expect(throws: Compression.Failure.tooLarge) { _ = try compression.decompress(bomb, bytesMax: 1000) }
  }

  @Test(arguments: Compression.allCases) func whatIsCutOrChangedIsRefused(compression: Compression) {
    var chance = SeededGenerator()
    let bytes = [UInt8](0...255)
    let compressed = compression.compress(bytes)
    for length in 0..<compressed.count {
      #expect(throws: Compression.Failure.malformed) {
        _ = try compression.decompress(Array(compressed[..<length]), bytesMax: 1000)
      }
    }
    for _ in 0..<1000 {
      let read = try? compression.decompress(chance.mutated(compressed), bytesMax: 1000)
      // The checksum sees every change, but for those to what gzip's header says in passing.
      #expect(read == nil || read == bytes, "seed \(chance.seed)")
    }
  }
}
