import NIOCore

/// What one HTTP/2 connection sends: frames, as far as the peer's windows take them, and messages that wait for room
/// in those (RFC 9113, section 5.2).
struct HTTP2Outlet {
  /// A message that a window has stopped.
  private struct Waiting {
    var stream: UInt32
    var message: ByteBuffer
    var windowBytes: Int
  }

  /// Frames to be written to the channel.
  var bytes = ByteBuffer()
  /// SETTINGS_MAX_FRAME_SIZE of the peer.
  var frameBytesMax = 16_384
  private var connectionWindowBytes = 65_535
  private var streamWindowBytes = 65_535
  private var waiting: [Waiting] = []

  mutating func sendHeaders(_ block: ByteBuffer, stream: UInt32) {
    precondition(block.readableBytes <= 16_384, "a token is at most 8 KiB")
    block.withUnsafeReadableBytes { block in
      bytes.writeFrame(.headers, length: block.count, flags: HTTP2FrameHeader.endHeaders, stream: stream) {
        $0.copyMemory(from: block.baseAddress!, byteCount: block.count)
      }
    }
  }

  /// Sends a stream's only message, and with it the stream's end.
  mutating func sendMessage(bytes count: Int, stream: UInt32, _ fill: (UnsafeMutableRawPointer) -> Void) {
    if waiting.isEmpty, count <= min(frameBytesMax, connectionWindowBytes, streamWindowBytes) {
      connectionWindowBytes -= count
      bytes.writeFrame(.data, length: count, flags: HTTP2FrameHeader.endStream, stream: stream, fill)
      return
    }
    var message = ByteBuffer()
    message.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { buffer in
      fill(buffer.baseAddress!)
      return count
    }
    waiting.append(Waiting(stream: stream, message: message, windowBytes: streamWindowBytes))
    sendWaiting()
  }

  /// Streams whose messages are sent already need no window.
  mutating func widen(_ stream: UInt32, by increment: Int) {
    if stream == 0 {
      connectionWindowBytes += increment
    } else if let index = waiting.firstIndex(where: { $0.stream == stream }) {
      waiting[index].windowBytes += increment
    }
    sendWaiting()
  }

  mutating func setStreamWindow(_ bytes: Int) {
    for index in waiting.indices { waiting[index].windowBytes += bytes - streamWindowBytes }
    streamWindowBytes = bytes
    sendWaiting()
  }

  mutating func forget(_ stream: UInt32) {
    if !waiting.isEmpty { waiting.removeAll { $0.stream == stream } }
  }

  private mutating func sendWaiting() {
    guard !waiting.isEmpty else { return }
    for index in waiting.indices {
      while waiting[index].message.readableBytes > 0 {
        let left = waiting[index].message.readableBytes
        let count = min(left, frameBytesMax, connectionWindowBytes, waiting[index].windowBytes)
        guard count > 0, let part = waiting[index].message.readSlice(length: count) else { break }
        connectionWindowBytes -= count
        waiting[index].windowBytes -= count
        part.withUnsafeReadableBytes { part in
          bytes.writeFrame(
            .data, length: count, flags: count == left ? HTTP2FrameHeader.endStream : 0, stream: waiting[index].stream
          ) { $0.copyMemory(from: part.baseAddress!, byteCount: count) }
        }
      }
      if connectionWindowBytes <= 0 { break }
    }
    waiting.removeAll { $0.message.readableBytes == 0 }
  }
}
