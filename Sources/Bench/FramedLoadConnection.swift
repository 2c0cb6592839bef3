import Core
import NIOCore

/// A connection that writes and reads whole frames, of whichever protocol: many frames a write, and no task for a call.
/// What becomes of its bytes, and of its calls when it is lost, is the same for all.
protocol FramedLoadConnection: LoadConnection, ChannelInboundHandler
where InboundIn == ByteBuffer, OutboundOut == ByteBuffer {
  var driver: LoadDriver { get }
  /// Kept once the connection can take calls.
  var ready: EventLoopPromise<NIOLoopBound<any LoadConnection>> { get }
  var calls: CallsInFlight { get set }
  /// nil once the connection is lost.
  var context: ChannelHandlerContext? { get set }
  /// Frames that `flush` sends.
  var outgoing: ByteBuffer { get set }
  var incoming: IncomingBytes { get set }

  /// Hands on the responses of whole frames, and tells how many bytes those were.
  func readFrames(_ bytes: UnsafeRawBufferPointer, at now: Int64) -> Int
}

extension FramedLoadConnection {
  var isOpen: Bool { context != nil }
  var callsInFlight: Int { calls.count }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  /// Hands to the channel what has become much; at the latest `flush` does.
  func writeIfMuch() {
    if outgoing.readableBytes > 256 * 1024 { write() }
  }

  func flush() {
    write()
    context?.flush()
  }

  private func write() {
    guard outgoing.readableBytes > 0 else { return }
    context?.write(wrapOutboundOut(outgoing), promise: nil)
    outgoing.clear()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let now = LoadDriver.now
    incoming.take(unwrapInboundIn(data)) { readFrames($0, at: now) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    close(.connectionLost("the server closed the connection"))
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { close(.connectionLost("\(error)")) }

  func close(_ reason: RPCError) {
    guard let context else { return }
    self.context = nil
    ready.fail(LoadRunner.Failure(description: reason.message))
    let lost = calls.removeAll()
    if !lost.isEmpty { driver.failed(reason, count: lost.count) }
    context.close(promise: nil)
    driver.lost(self)
  }
}

extension RPCError {
  /// A call whose fate is unknown for want of a connection.
  static func connectionLost(_ message: String) -> RPCError { RPCError(.unavailable, .connectionLost, message) }
}
