import NIOCore

/// Has our SETTINGS hold from the first frame on. swift-nio-http2 takes smaller limits of its own until the client has
/// acknowledged ours, and ends the connection of a client that passes those, which that could not know.
///
/// It puts an acknowledgement behind the client's own SETTINGS, which come first, and takes the client's away when it
/// comes; then it leaves.
final class EarlySettings: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private static let acknowledgement: [UInt8] = [0, 0, 0, 4, 1, 0, 0, 0, 0]
  private static let prefaceBytes = 24

  /// Bytes that pass as they are: the preface, and then the payload of each frame.
  private var passing = EarlySettings.prefaceBytes
  private var isPreface = true
  /// A frame's header, as far as it has come.
  private var header: [UInt8] = []
  private var isFirstFrame = true
  private var isAcknowledged = false

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    var passed = context.channel.allocator.buffer(capacity: bytes.readableBytes + Self.acknowledgement.count)
    while !isAcknowledged, bytes.readableBytes > 0 { step(&bytes, &passed) }
    passed.writeBuffer(&bytes)
    if passed.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(passed)) }
    if isAcknowledged { context.pipeline.syncOperations.removeHandler(context: context, promise: nil) }
  }

  private func step(_ bytes: inout ByteBuffer, _ passed: inout ByteBuffer) {
    if passing > 0, var piece = bytes.readSlice(length: min(passing, bytes.readableBytes)) {
      passing -= piece.readableBytes
      passed.writeBuffer(&piece)
      if passing == 0, !isPreface { frameEnded(&passed) }
      if passing == 0 { isPreface = false }
    } else {
      header += bytes.readBytes(length: min(Self.acknowledgement.count - header.count, bytes.readableBytes)) ?? []
      if header.count == Self.acknowledgement.count { frameBegan(&passed) }
    }
  }

  private func frameBegan(_ passed: inout ByteBuffer) {
    isAcknowledged = header == Self.acknowledgement
    guard !isAcknowledged else { return }
    passed.writeBytes(header)
    passing = header[..<3].reduce(0) { $0 << 8 | Int($1) }
    header = []
    if passing == 0 { frameEnded(&passed) }
  }

  /// The first frame is the client's SETTINGS; if it is not, HTTP/2 ends the connection for that.
  private func frameEnded(_ passed: inout ByteBuffer) {
    if isFirstFrame { passed.writeBytes(Self.acknowledgement) }
    isFirstFrame = false
  }
}
