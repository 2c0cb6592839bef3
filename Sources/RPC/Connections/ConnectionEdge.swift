import Core
import NIOCore

/// The handler nearest to the socket. It ends a connection so that the peer gets all that was written for it: it
/// closes the sending side behind the last byte, and goes on reading for a while.
///
/// A socket that is closed while something lies in it unread resets the connection, and what was sent last is
/// lost to the peer with it.
final class ConnectionEdge: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private var context: ChannelHandlerContext?
  /// Nothing that is read from here on reaches the protocol.
  private(set) var isEnding = false
  private var timer: Scheduled<Void>?

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    timer?.cancel()
    timer = nil
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if !isEnding { context.fireChannelRead(data) }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if isEnding { context.read() } else { context.fireChannelReadComplete() }
  }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    timer = nil
    context.fireChannelInactive()
  }

  /// Sends what was written and closes the sending side; closes the connection when the peer does, or after a while.
  func end() {
    guard let context, !isEnding else { return }
    isEnding = true
    let sent = context.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    sent.futureResult.whenComplete { _ in bound.value.close(in: .seconds(Limits.lingerSecondsMax)) }
    // A peer that reads nothing holds it up no longer than a drain takes.
    close(in: .seconds(Limits.drainSecondsMax))
    context.flush()
    context.close(mode: .output, promise: sent)
    context.read()
  }

  private func close(in time: TimeAmount) {
    guard let context else { return }
    timer?.cancel()
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    timer = context.eventLoop.scheduleTask(in: time) { bound.value.close(promise: nil) }
  }
}
