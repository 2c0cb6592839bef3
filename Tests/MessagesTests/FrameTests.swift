import Core
import TestSupport
import Testing

@testable import Messages

@Suite struct FrameHeaderTests {
  @Test func theHeaderIsTenBytesBigEndian() {
    let header = FrameHeader(
      dataBytes: 0x0001_0203, stream: 0x0405_0607, kind: .response, flags: FrameFlags(rawValue: 9))
    let bytes: [UInt8] = [
      0x00, 0x01, 0x02, 0x03,  // 0-3: length
      0x04, 0x05, 0x06, 0x07,  // 4-7: stream
      0x02,  // 8: type
      0x09,  // 9: flags
    ]
    #expect(written(header) == bytes)
    #expect(bytes.withUnsafeBytes { FrameHeader($0) } == header)
  }

  @Test func typesAreNumberedAsContainerdNumbersThem() {
    #expect(FrameHeader.Kind.request.rawValue == 1)
    #expect(FrameHeader.Kind.response.rawValue == 2)
    #expect(FrameHeader.Kind.data.rawValue == 3)
  }

  @Test func everyHeaderIsReadAsItWasWritten() {
    var chance = SeededGenerator()
    for _ in 0..<1000 {
      let header = FrameHeader(
        dataBytes: Int(UInt32.random(in: .min ... .max, using: &chance)),
        stream: .random(in: .min ... .max, using: &chance),
        kind: .init(rawValue: .random(in: .min ... .max, using: &chance)),
        flags: FrameFlags(rawValue: .random(in: .min ... .max, using: &chance)))
      #expect(written(header).withUnsafeBytes { FrameHeader($0) } == header, "seed \(chance.seed)")
    }
  }

  private func written(_ header: FrameHeader) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xaa, count: FrameHeader.bytes)
    bytes.withUnsafeMutableBytes { header.write(to: $0) }
    return bytes
  }
}

@Suite struct FrameDecoderTests {
  typealias Event = FrameDecoder.Event

  @Test func nothingIsNoFrame() {
    var decoder = FrameDecoder.server
    #expect(decoder.events() == [])
    #expect(!decoder.isMidFrame)
  }

  /// Or every idle connection would keep the largest it ever saw.
  @Test func bufferThatALargeFrameNeededIsGivenBack() {
    var decoder = FrameDecoder.server
    let large = [UInt8](repeating: 7, count: 1 << 20)
    for _ in 0..<3 {
      #expect(decoder.events(after: frame(stream: 7, kind: 1, large).dropLast()) == [])
      #expect(decoder.allocatedBytes > large.count)
      #expect(decoder.events(after: [7]).count == 1 && decoder.allocatedBytes == 0)
      #expect(decoder.events(after: frame(stream: 9, kind: 1, [1, 2, 3])).count == 1)
      #expect((1...65_536).contains(decoder.allocatedBytes), "a small one is used again")
    }
  }

  @Test func aFrameIsItsHeaderAndItsData() {
    var decoder = FrameDecoder.server
    #expect(
      decoder.events(after: frame(stream: 7, kind: 2, flags: 5, [1, 2, 3])) == [
        .frame(FrameHeader(dataBytes: 3, stream: 7, kind: .response, flags: FrameFlags(rawValue: 5)), data: [1, 2, 3])
      ])
    #expect(!decoder.isMidFrame)
  }

  @Test func aFrameMayHoldNothing() {
    var decoder = FrameDecoder.server
    #expect(decoder.events(after: frame(stream: 3) + frame(stream: 5)) == [event(3, []), event(5, [])])
  }

  // MARK: However the bytes arrive

  static let threeFrames = frame(stream: 1, [1, 2, 3]) + frame(stream: 3) + frame(stream: 5, [4])
  static let threeEvents: [Event] = [event(1, [1, 2, 3]), event(3, []), event(5, [4])]

  @Test func framesInOneReadComeOutInOrder() {
    var decoder = FrameDecoder.server
    #expect(decoder.events(after: Self.threeFrames) == Self.threeEvents)
  }

  @Test func framesFedByteByByteComeOutTheSame() {
    var decoder = FrameDecoder.server
    #expect(Self.threeFrames.flatMap { decoder.events(after: [$0]) } == Self.threeEvents)
  }

  @Test(arguments: 0...threeFrames.count) func framesSplitAnywhereComeOutTheSame(place: Int) {
    var decoder = FrameDecoder.server
    let first = decoder.events(after: Self.threeFrames[..<place])
    #expect(decoder.isMidFrame == ![0, 13, 23, 34].contains(place))
    #expect(first + decoder.events(after: Self.threeFrames[place...]) == Self.threeEvents)
    #expect(!decoder.isMidFrame)
  }

  @Test func framesCutAtRandomComeOutTheSame() {
    var chance = SeededGenerator()
    for _ in 0..<200 {
      var (bytes, expected) = ([UInt8](), [Event]())
      for index in 0..<Int.random(in: 1...20, using: &chance) {
        let stream = UInt32(2 * index + 1)
        let data = chance.bytes(.random(in: 0...50, using: &chance))
        bytes += frame(stream: stream, data)
        expected.append(
          data.count <= 30
            ? Self.event(stream, data)
            : .oversized(FrameHeader(dataBytes: data.count, stream: stream, kind: .request)))
      }
      var decoder = FrameDecoder(frameBytesMax: 30, discardBytesMax: 50)
      var events: [Event] = []
      for piece in bytes.cut(using: &chance) {
        decoder.append(piece)
        // A busy reader does not ask after every read.
        if Bool.random(using: &chance) { events += decoder.events() }
      }
      events += decoder.events()
      #expect(events == expected, "seed \(chance.seed)")
      #expect(!decoder.isMidFrame, "seed \(chance.seed)")
    }
  }

  // MARK: Sizes

  @Test func theLargestFrameIsRead() {
    let data = [UInt8](repeating: 7, count: 4_194_304)
    var decoder = FrameDecoder.server
    #expect(decoder.events(after: frame(data)) == [Self.event(1, data)])
  }

  @Test func oversizedFrameIsDiscardedAndNextFrameFollows() {
    var decoder = FrameDecoder.server
    let oversized = frame(stream: 1, [UInt8](repeating: 7, count: 4_194_305))
    #expect(
      decoder.events(after: oversized + frame(stream: 3, [1])) == [
        .oversized(FrameHeader(dataBytes: 4_194_305, stream: 1, kind: .request)), Self.event(3, [1]),
      ])
  }

  @Test func theLargestDiscardedFrameIsNeverHeld() {
    var decoder = FrameDecoder.server
    let oversized = frame(stream: 1, [UInt8](repeating: 7, count: 16_777_215))
    var events: [Event] = []
    for piece in oversized.cut(every: 65_536) {
      events += decoder.events(after: piece)
      #expect(decoder.held.capacity <= 3 * 65_536)
    }
    #expect(events == [.oversized(FrameHeader(dataBytes: 16_777_215, stream: 1, kind: .request))])
    #expect(decoder.events(after: frame(stream: 3, [1])) == [Self.event(3, [1])])
  }

  @Test func oversizedFrameIsMidFrameUntilItsLastByte() {
    var decoder = FrameDecoder(frameBytesMax: 2, discardBytesMax: 3)
    #expect(decoder.events(after: frame([1, 2, 3]).dropLast()) == [])
    #expect(decoder.isMidFrame)
    #expect(decoder.events(after: [3]).count == 1)
    #expect(!decoder.isMidFrame)
  }

  @Test(arguments: [16_777_216, 0x7fff_ffff, 0xffff_ffff])
  func pastTheDiscardBoundNothingIsReadAgain(length: Int) {
    var decoder = FrameDecoder.server
    #expect(
      decoder.events(after: frame(stream: 9, [1, 2, 3], length: length) + frame(stream: 11)) == [
        .fatal(FrameHeader(dataBytes: length, stream: 9, kind: .request))
      ])
    #expect(decoder.events(after: frame(stream: 13)) == [])
  }

  @Test func afterAFatalFrameNothingIsHeld() {
    var decoder = FrameDecoder.server
    _ = decoder.events(after: frame(length: 0xffff_ffff))
    for _ in 0..<100 { _ = decoder.events(after: [UInt8](repeating: 7, count: 1000)) }
    #expect(decoder.held.count == 0)
  }

  // MARK: Lengths that lie

  @Test func aLengthTooLongWaitsForTheRest() {
    var decoder = FrameDecoder.server
    #expect(decoder.events(after: frame(stream: 1, [1, 2], length: 12)) == [])
    #expect(decoder.isMidFrame)
    // The next frame's bytes are taken for the rest.
    #expect(decoder.events(after: frame(stream: 3)) == [Self.event(1, [1, 2] + frame(stream: 3))])
  }

  @Test func aLengthTooShortMakesTheRestANewFrame() {
    var decoder = FrameDecoder.server
    let inner = frame(stream: 0x0101_0101, kind: 99, [5])
    #expect(
      decoder.events(after: frame(stream: 1, [8] + inner, length: 1)) == [
        Self.event(1, [8]),
        .frame(FrameHeader(dataBytes: 1, stream: 0x0101_0101, kind: .init(rawValue: 99)), data: [5]),
      ])
  }

  // MARK: Memory

  @Test func aClaimedLengthTakesNoMemory() {
    var decoder = FrameDecoder.server
    #expect(decoder.events(after: frame(length: 4_194_304)) == [])
    #expect(decoder.held.capacity < 4096)
  }

  @Test func onlyTheUnfinishedFrameIsHeld() {
    var decoder = FrameDecoder.server
    let frames = (0..<1000).flatMap { frame(stream: $0, [UInt8](repeating: 7, count: 100)) }
    for piece in frames.cut(every: 333) {
      _ = decoder.events(after: piece)
      #expect(decoder.held.count <= 110 + 333)
    }
  }

  /// Else every idle connection would keep the largest frame it ever saw.
  @Test func aLargeFrameLeavesNoLargeBufferBehind() {
    var decoder = FrameDecoder.server
    for piece in frame([UInt8](repeating: 7, count: 4_194_304)).cut(every: 65_536) { _ = decoder.events(after: piece) }
    #expect(!decoder.isMidFrame)
    #expect(decoder.held.capacity <= 2 * 65_536)
  }

  private static func event(_ stream: UInt32, _ data: [UInt8]) -> Event {
    .frame(FrameHeader(dataBytes: data.count, stream: stream, kind: .request), data: data)
  }

  private func event(_ stream: UInt32, _ data: [UInt8]) -> Event { Self.event(stream, data) }
}
