import Core
import Logging
import Messages
import NIOCore
import NIOExtras

/// Looks at a connection's first bytes, sets up the protocol they tell, and leaves. A connection that
/// stays silent costs its slot, for a bounded time.
final class ProtocolSniffer: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let connection: AcceptedConnection
  private let logger: Logger
  private let install: (ProtocolSniff, ChannelHandlerContext) -> Bool
  private var received = ByteBuffer()
  private var timer: Scheduled<Void>?
  private var isUndecided = true

  /// - Parameter install: sets up the pipeline for a protocol; false when it is not spoken here.
  init(
    connection: AcceptedConnection, logger: Logger,
    install: @escaping (ProtocolSniff, ChannelHandlerContext) -> Bool
  ) {
    self.connection = connection
    self.logger = logger
    self.install = install
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    timer = context.eventLoop.scheduleTask(in: .seconds(Limits.undecidedSecondsMax)) {
      bound.value.close(promise: nil)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    decided()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent, isUndecided { context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    received.writeBuffer(&bytes)
    let sniff = ProtocolSniff(received.readableBytesView.prefix(ProtocolSniff.bytesMax))
    guard isUndecided, sniff != .undecided else { return }
    decided()
    if install(sniff, context) {
      context.fireChannelRead(wrapInboundOut(received))
      context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    } else {
      refuse(sniff, context)
    }
  }

  private func decided() {
    timer?.cancel()
    if isUndecided { connection.touch() }
    isUndecided = false
  }

  private func refuse(_ sniff: ProtocolSniff, _ context: ChannelHandlerContext) {
    logger.debug("refusing a connection", metadata: ["protocol": "\(sniff)"])
    guard sniff == .http1 else { return context.close(promise: nil) }
    let text = "This address speaks gRPC and ttRPC; see proto/PROTOCOL.md of Parley.\n"
    let answer =
      "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: \(text.utf8.count)\r\n"
      + "connection: close\r\n\r\n\(text)"
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer)))
      .whenComplete { _ in bound.value.close(promise: nil) }
  }
}
