import NIOCore
import NIOHTTP2

/// Keeps what swift-nio-http2 tells of an error on one stream from being taken for more.
///
/// It resets such a stream itself, tells of the stream's end, and then of the error, which often does
/// not say that it is one stream's alone; all other errors end the connection. Where a request's headers
/// are wrong, it tells of the end of a stream that never began, which its own connection management
/// asserts not to happen.
final class StreamErrorFilter: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame

  private var open: Set<HTTP2StreamID> = []
  /// A stream was reset, and not by a frame of the peer's or by our `NO_ERROR`.
  private var isStreamError = false

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case let event as NIOHTTP2StreamCreatedEvent: open.insert(event.streamID)
    case let event as StreamClosedEvent:
      if let reason = event.reason { isStreamError = reason != .noError }
      if open.remove(event.streamID) == nil { return }
    default: break
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    isStreamError = false
    context.fireChannelRead(data)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    let isStreamError = isStreamError || error is NIOHTTP2Errors.StreamError
    self.isStreamError = false
    if !isStreamError { context.fireErrorCaught(error) }
  }
}
