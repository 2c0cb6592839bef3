import CNghttp2
import Testing

@testable import Bench

struct RequestBlocksTests {
  /// Reads header blocks by nghttp2.
  private final class Reader {
    private let inflater: OpaquePointer

    init() {
      var inflater: OpaquePointer?
      #expect(nghttp2_hd_inflate_new(&inflater) == 0)
      self.inflater = inflater!
    }

    deinit { nghttp2_hd_inflate_del(inflater) }

    func setTableBytesMax(_ bytes: Int) { #expect(nghttp2_hd_inflate_change_table_size(inflater, bytes) == 0) }

    /// nil where it is no block.
    func read(_ block: [UInt8]) -> [RequestFields.Field]? {
      var fields: [RequestFields.Field] = []
      var rest = block[...]
      while true {
        var field = nghttp2_nv()
        var flags: Int32 = 0
        let count = rest.withUnsafeBufferPointer {
          nghttp2_hd_inflate_hd2(inflater, &field, &flags, $0.baseAddress, $0.count, 1)
        }
        guard count >= 0 else { return nil }
        rest = rest.dropFirst(count)
        if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
          fields.append(
            .init(
              name: String(decoding: UnsafeBufferPointer(start: field.name, count: field.namelen), as: UTF8.self),
              value: String(decoding: UnsafeBufferPointer(start: field.value, count: field.valuelen), as: UTF8.self)))
        }
        if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 {
          nghttp2_hd_inflate_end_headers(inflater)
          return fields
        }
      }
    }
  }

  private func request(_ number: Int, tokenBytes: Int = 300) -> [(name: String, value: String)] {
    [
      (":method", "POST"), (":path", "/a"),
      ("authorization", "Bearer \(number) \(String(repeating: "t", count: tokenBytes))"),
    ]
  }

  private func expectEqual(_ fields: [RequestFields.Field]?, _ request: [(name: String, value: String)]) {
    #expect(fields == request.map { RequestFields.Field(name: $0.name, value: $0.value) })
  }

  @Test func whatTheServerHasIsToldByIndices() {
    let request = request(0)
    var blocks = RequestBlocks(RequestFields([request]))
    let reader = Reader()
    let first = blocks.next(0)
    expectEqual(reader.read(first), request)
    #expect(first.count > 300)
    for _ in 0..<3 {
      let block = blocks.next(0)
      #expect(block == [0xc0, 0xbf, 0xbe])
      expectEqual(reader.read(block), request)
    }
  }

  @Test func blocksReadAsTheirRequestsHoweverManyThereAre() {
    // So many tokens that the table of 4 KiB cannot hold them all.
    let requests = (0..<40).map { request($0) }
    var blocks = RequestBlocks(RequestFields(requests))
    let reader = Reader()
    var random = SeededRandom(seed: 1)
    for round in 0..<2000 {
      let number = round < 1000 ? random.index(below: 3) : random.index(below: 40)
      expectEqual(reader.read(blocks.next(number)), requests[number])
    }
  }

  @Test func largeTableHasIndicesOfSeveralBytes() {
    let requests = (0..<100).map { [("x", "\($0)")] }
    var blocks = RequestBlocks(RequestFields(requests))
    let reader = Reader()
    for _ in 0..<3 {
      for (number, request) in requests.enumerated() { expectEqual(reader.read(blocks.next(number)), request) }
    }
    #expect(blocks.next(0).count == 2)
  }

  @Test(arguments: [0, 33, 100, 400, 1000, 4095, 4096, 65_536]) func tableIsAsLargeAsTheServerSays(bytes: Int) {
    let requests = (0..<4).map { request($0) }
    var blocks = RequestBlocks(RequestFields(requests))
    let reader = Reader()
    expectEqual(reader.read(blocks.next(0)), requests[0])
    reader.setTableBytesMax(bytes)
    blocks.setTableBytesMax(bytes)
    for round in 0..<20 { expectEqual(reader.read(blocks.next(round % 4)), requests[round % 4]) }
    reader.setTableBytesMax(4096)
    blocks.setTableBytesMax(4096)
    for round in 0..<20 { expectEqual(reader.read(blocks.next(round % 4)), requests[round % 4]) }
  }

  @Test func tokenOfAnySizeIsTold() {
    let requests = [1, 126, 127, 128, 254, 255, 4000, 5000, 8192].map { request(0, tokenBytes: $0) }
    var blocks = RequestBlocks(RequestFields(requests))
    let reader = Reader()
    for _ in 0..<3 {
      for (number, request) in requests.enumerated() { expectEqual(reader.read(blocks.next(number)), request) }
    }
  }
}
