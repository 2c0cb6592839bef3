import Core
import Logging
import Messages
import NIOCore

/// Responses on their way out.
extension GRPCHandler {
  /// From so many bytes on they are written without waiting for others, and the channel is asked whether it takes more.
  private static let writtenBytesMax = 64 * 1024

  func send(_ outgoing: GRPCStreamState.Outgoing, on stream: StreamID) {
    switch outgoing {
    case .headers(let headers, let isLast): session.respond(on: stream, headers, isLast: isLast)
    case .prefix(let prefix):
      session.send(prefix, on: stream, isTold: false)
      unread.add(prefix.count)
    case .message(let message):
      // Of a streaming response somebody waits for it.
      session.send(message, on: stream, isTold: sends[stream] != nil)
      unread.add(message.count)
      if unread.isTooMuch { close("\(unread.bytes) bytes of responses are not read") }
    case .trailers(let trailers): session.finish(stream, trailers)
    }
  }

  /// Sends what there is at the end of this turn of the loop, all at once; or when the channel takes more.
  func flushSoon() {
    guard !isFlushDue, !isFlushing, let context, isEndDue || context.channel.isWritable,
      isEndDue || session.wantsWrite || session.isFinished
    else { return }
    isFlushDue = true
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    context.eventLoop.execute { bound.value.flush() }
  }

  func flush() {
    isFlushDue = false
    guard !isFlushing, isActive, !edge.isEnding, let context else { return }
    isFlushing = true
    // At the end there are few frames left, and nobody reads for longer than they take.
    while isEndDue || context.channel.isWritable, write(context) {}
    isFlushing = false
    countUnread()
    if isEndDue || session.isFinished { end() }
  }

  private func write(_ context: ChannelHandlerContext) -> Bool {
    let isWritten = session.fill(bytesMax: Self.writtenBytesMax) {
      context.writeAndFlush(wrapOutboundOut($0), promise: nil)
    }
    session.handleEvents { handle($0, at: clock.now) }
    return isWritten
  }

  /// All was said: the peer gets it, and the connection closes.
  private func end() {
    guard isActive, !edge.isEnding else { return }
    if let failure = session.failure { logger.debug("closing a connection", metadata: ["reason": "\(failure)"]) }
    edge.end()
    state.lost()
    endCalls()
  }

  func close(_ reason: String) {
    logger.info("closing a connection", metadata: ["reason": "\(reason)"])
    context?.close(promise: nil)
  }

  /// Keeps what the peer has not read of its responses: what its windows have not taken, or the socket has not.
  func countUnread() {
    guard isActive, let context else { return }
    var bytes = session.queuedBytes
    if !context.channel.isWritable {
      bytes += (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }
    guard bytes != unread.bytes else { return }
    let hasRead = bytes < unread.bytes
    unread.set(bytes)
    if hasRead { runner.startWaiting() }
  }
}
