import NIOCore
import NIOHTTP2

/// Stops two kinds of events of swift-nio-http2 from reaching the handlers behind it.
///
/// Errors of one stream: swift-nio-http2 resets such a stream itself, fires an event for the stream's end, and then fires
/// the error, which often does not say that it concerns one stream alone. Every other error ends the connection.
///
/// Window updates: there are five in a small call, and each handler would look at each of them.
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
