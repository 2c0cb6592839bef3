import NIOCore
import NIOHPACK

/// The header blocks of one HTTP/2 connection, both ways (HPACK, RFC 7541).
///
/// A block that consists of indices alone leaves the tables of both ends as they are, so that the same block means the
/// same until another kind of block has passed: such blocks are made and read once.
struct HeaderBlocks {
  private var encoder = HPACKEncoder(allocator: ByteBufferAllocator())
  private var decoder = HPACKDecoder(allocator: ByteBufferAllocator())
  /// Of the headers of that number, while they hold.
  private var made: [Int: ByteBuffer] = [:]
  /// The block of trailers that say OK, while it holds.
  private var okTrailers: [UInt8] = []

  /// - Parameter number: the same for the same headers.
  mutating func encode(_ headers: HPACKHeaders, number: Int) throws -> ByteBuffer {
    if let block = made[number] { return block }
    var block = ByteBuffer()
    try encoder.encode(headers: headers, to: &block)
    if Self.isIndices(block.readableBytesView) { made[number] = block } else { made.removeAll() }
    return block
  }

  mutating func setEncoderTableBytes(_ bytes: Int) throws {
    made.removeAll()
    try encoder.setDynamicTableSize(min(bytes, HPACKEncoder.defaultDynamicTableSize))
  }

  /// Whether the block is the one that says OK, as far as is known without decoding it.
  func isOK(_ block: UnsafeRawBufferPointer) -> Bool { !block.isEmpty && block.elementsEqual(okTrailers) }

  mutating func decode(_ block: UnsafeRawBufferPointer) throws -> HPACKHeaders {
    var buffer = ByteBuffer(bytes: block)
    let headers = try decoder.decodeHeaders(from: &buffer)
    if !Self.isIndices(block) {
      okTrailers = []
    } else if headers.count == 1, headers.first(name: "grpc-status") == "0" {
      okTrailers = Array(block)
    }
    return headers
  }

  /// Nothing but indices of one byte (RFC 7541, section 6.1).
  private static func isIndices(_ block: some Collection<UInt8>) -> Bool {
    block.allSatisfy { $0 >= 0x80 && $0 != 0xff }
  }
}
