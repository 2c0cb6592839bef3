import Domain
import NIOCore
import NIOHPACK
import Testing

@testable import Bench

@Suite struct HTTP2Tests {
  /// The frames written so far: kind, flags, stream and content.
  private func frames(_ outlet: inout HTTP2Outlet) -> [(HTTP2FrameHeader, [UInt8])] {
    let bytes = Array(outlet.bytes.readableBytesView)
    outlet.bytes.clear()
    var frames: [(HTTP2FrameHeader, [UInt8])] = []
    var place = 0
    while place < bytes.count {
      let header = bytes[place...].withUnsafeBytes { HTTP2FrameHeader($0) }
      let start = place + HTTP2FrameHeader.bytes
      frames.append((header, Array(bytes[start..<start + header.length])))
      place = start + header.length
    }
    return frames
  }

  private func message(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 % 251) } }

  private func send(_ count: Int, stream: UInt32, _ outlet: inout HTTP2Outlet) {
    outlet.sendMessage(bytes: count, stream: stream) { target in
      message(count).withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: count) }
    }
  }

  @Test func aSmallMessageIsOneFrameThatEndsItsStream() {
    var outlet = HTTP2Outlet()
    send(600, stream: 5, &outlet)
    let sent = frames(&outlet)
    #expect(sent.count == 1 && sent[0].1 == message(600))
    #expect(sent[0].0.kind == .data && sent[0].0.stream == 5 && sent[0].0.flags == HTTP2FrameHeader.endStream)
  }

  @Test func aLargeMessageWaitsForTheWindows() {
    var outlet = HTTP2Outlet()
    send(200_000, stream: 1, &outlet)
    var sent = frames(&outlet)
    var bytes = sent.flatMap(\.1)
    #expect(bytes.count == 65_535)
    #expect(sent.allSatisfy { $0.1.count <= 16_384 && $0.0.flags == 0 })
    // One window alone is not enough.
    outlet.widen(0, by: 1_000_000)
    #expect(frames(&outlet).isEmpty)
    outlet.widen(1, by: 1_000_000)
    sent = frames(&outlet)
    bytes += sent.flatMap(\.1)
    #expect(bytes == message(200_000))
    #expect(sent.map(\.0.flags) == Array(repeating: 0, count: sent.count - 1) + [HTTP2FrameHeader.endStream])
  }

  @Test func aWiderSettingReachesWhatWaits() {
    var outlet = HTTP2Outlet()
    outlet.widen(0, by: 1_000_000)
    send(100_000, stream: 1, &outlet)
    send(10, stream: 3, &outlet)
    #expect(frames(&outlet).flatMap(\.1).count == 65_545)
    outlet.setStreamWindow(256 * 1024)
    #expect(frames(&outlet).flatMap(\.1).count == 100_000 - 65_535)
  }

  @Test func whatWasForgottenIsNotSent() {
    var outlet = HTTP2Outlet()
    send(100_000, stream: 1, &outlet)
    _ = frames(&outlet)
    outlet.forget(1)
    outlet.widen(0, by: 1_000_000)
    outlet.widen(1, by: 1_000_000)
    #expect(frames(&outlet).isEmpty)
  }

  @Test func blocksDecodeToTheirHeadersHoweverManyThereAre() throws {
    // So many tokens that the table of 4 KiB cannot hold them all.
    let requests: [HPACKHeaders] = (0..<40).map { number in
      [":method": "POST", ":path": "/a", "authorization": "Bearer \(number) \(String(repeating: "t", count: 300))"]
    }
    var blocks = HeaderBlocks()
    var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
    var random = SeededRandom(seed: 1)
    for round in 0..<2000 {
      let number = round < 1000 ? random.index(below: 3) : random.index(below: 40)
      var block = try blocks.encode(requests[number], number: number)
      #expect(try decoder.decodeHeaders(from: &block) == requests[number])
    }
  }

  @Test func okIsKnownWithoutDecodingOnlyWhileItHolds() throws {
    var (encoder, blocks) = (HPACKEncoder(allocator: ByteBufferAllocator()), HeaderBlocks())
    func receive(_ headers: HPACKHeaders) throws -> (isKnown: Bool, decoded: HPACKHeaders?) {
      var buffer = ByteBuffer()
      try encoder.encode(headers: headers, to: &buffer)
      return try buffer.withUnsafeReadableBytes { block in
        blocks.isOK(block) ? (true, nil) : (false, try blocks.decode(block))
      }
    }
    let (ok, bad): (HPACKHeaders, HPACKHeaders) = (["grpc-status": "0"], ["grpc-status": "8", "grpc-message": "full"])
    #expect(try receive(ok) == (false, ok))
    #expect(try receive(ok) == (false, ok))
    #expect(try receive(ok) == (true, nil))
    // The tables change: the same bytes may mean something else.
    #expect(try receive(bad) == (false, bad))
    #expect(try receive(bad) == (false, bad))
    #expect(try receive(ok) == (false, ok))
    #expect(try receive(ok) == (true, nil))
  }

  @Test func trailersTellTheirError() {
    let error = RPCError(grpcTrailers: ["grpc-status": "8", "grpc-message": "full%3A 100%25 of %C3%A9"])
    #expect(error.code == .resourceExhausted && error.message == "full: 100% of é")
    #expect(RPCError(grpcTrailers: [":status": "415"]).message.contains("415"))
  }
}
