import NIOCore
import NIOHTTP2

/// Keeps what swift-nio-http2 tells of an error on one stream from being taken for more, and its word of
/// windows from going round.
///
/// It resets such a stream itself, tells of the stream's end, and then of the error, which often does
/// not say that it is one stream's alone; all other errors end the connection.
///
/// Windows change five times in a small call, and every handler that looks what an event is takes its time.
final class StreamErrorFilter: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame

  private let onWindow: (NIOHTTP2WindowUpdatedEvent) -> Void
  /// A stream was reset, and not by a frame of the peer's or by our `NO_ERROR`.
  private var isStreamError = false

  /// - Parameter onWindow: is told of windows, instead of the handlers that follow.
  init(onWindow: @escaping (NIOHTTP2WindowUpdatedEvent) -> Void) {
    self.onWindow = onWindow
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case let event as NIOHTTP2WindowUpdatedEvent: return onWindow(event)
    case let event as StreamClosedEvent:
      if let reason = event.reason { isStreamError = reason != .noError }
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
