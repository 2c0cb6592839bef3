import CZlib

/// How a message may be compressed (gRPC over HTTP2, Message-Encoding).
public enum Compression: String, Sendable, CaseIterable {
  case gzip
  /// The zlib format (RFC 1950).
  case deflate

  /// Why a message cannot be decompressed.
  public enum Failure: Error {
    case malformed
    case tooLarge
  }

  private var windowBits: Int32 { self == .gzip ? 15 + 16 : 15 }

  public func compress(_ bytes: [UInt8]) -> [UInt8] {
    var stream = z_stream()
    precondition(parley_deflateInit(&stream, windowBits) == Z_OK, "zlib has no memory")
    defer { deflateEnd(&stream) }
    let bound = Int(deflateBound(&stream, UInt(bytes.count)))
    return bytes.withUnsafeBufferPointer { source in
      [UInt8](unsafeUninitializedCapacity: bound) { target, count in
        stream.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
        stream.avail_in = UInt32(source.count)
        stream.next_out = target.baseAddress
        stream.avail_out = UInt32(bound)
        let result = CZlib.deflate(&stream, Z_FINISH)
        precondition(result == Z_STREAM_END, "deflateBound is a bound")
        count = Int(stream.total_out)
      }
    }
  }

  /// Never makes more than `bytesMax`, whatever a small message claims to hold.
  public func decompress(_ bytes: [UInt8], bytesMax: Int) throws(Failure) -> [UInt8] {
    var stream = z_stream()
    guard parley_inflateInit(&stream, windowBits) == Z_OK else { throw .malformed }
    defer { inflateEnd(&stream) }
    var output: [UInt8] = []
    var result = Z_OK
    bytes.withUnsafeBufferPointer { source in
      stream.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
      stream.avail_in = UInt32(source.count)
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16_384) { block in
        repeat {
          stream.next_out = block.baseAddress
          stream.avail_out = UInt32(block.count)
          result = inflate(&stream, Z_NO_FLUSH)
          output.append(contentsOf: block[..<(block.count - Int(stream.avail_out))])
        } while result == Z_OK && output.count <= bytesMax
      }
    }
    guard output.count <= bytesMax else { throw .tooLarge }
    guard result == Z_STREAM_END, stream.avail_in == 0 else { throw .malformed }
    return output
  }
}
