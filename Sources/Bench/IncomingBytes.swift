import NIOCore

/// The bytes of a connection that arrived, for a reader of whole frames. Holds the beginning of a frame whose end has
/// not come.
struct IncomingBytes {
  private var held = ByteBuffer()

  /// - Parameter read: reads whole frames, and tells how many bytes those were.
  mutating func take(_ buffer: ByteBuffer, _ read: (UnsafeRawBufferPointer) -> Int) {
    var buffer = buffer
    if held.readableBytes > 0 {
      held.writeBuffer(&buffer)
      held.moveReaderIndex(forwardBy: held.withUnsafeReadableBytes(read))
      held.discardReadBytes()
    } else {
      buffer.moveReaderIndex(forwardBy: buffer.withUnsafeReadableBytes(read))
      held.clear()
      held.writeBuffer(&buffer)
    }
  }
}
