import Core
import Messages
import NIOCore
import NIOPosix

/// A `RawHTTP2Peer` on a connection of its own, for one task.
final class RawHTTP2Client {
  private let channel: any Channel
  private var bytes: AsyncStream<ByteBuffer>.Iterator
  private var peer: RawHTTP2Peer

  init(to address: Address, _ peer: RawHTTP2Peer = RawHTTP2Peer()) async throws {
    guard case .unix(let path) = address else { throw GRPCTestFailure("a Unix socket is asked for") }
    let (bytes, continuation) = AsyncStream.makeStream(of: ByteBuffer.self)
    self.bytes = bytes.makeAsyncIterator()
    self.peer = peer
    channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Collector(continuation))
        }
      }
      .connect(unixDomainSocketPath: path).get()
    try await act { _ in }
  }

  deinit {
    channel.close(promise: nil)
  }

  private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let continuation: AsyncStream<ByteBuffer>.Continuation

    init(_ continuation: AsyncStream<ByteBuffer>.Continuation) {
      self.continuation = continuation
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { continuation.yield(unwrapInboundIn(data)) }
    func channelInactive(context: ChannelHandlerContext) { continuation.finish() }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }

  var goAways: [UInt32] { peer.goAways }

  func received(on stream: Int) -> RawHTTP2Peer.Stream { peer.streams[stream] ?? .init() }

  /// Does something and sends what comes of it.
  func act(_ body: (inout RawHTTP2Peer) -> Void) async throws {
    body(&peer)
    let outgoing = peer.takeOutgoing()
    if !outgoing.isEmpty { try await channel.writeAndFlush(ByteBuffer(bytes: outgoing)) }
  }

  /// Reads until the condition holds; throws when the connection closes before.
  func read(until condition: (RawHTTP2Client) -> Bool) async throws {
    while !condition(self) {
      guard let bytes = await bytes.next(isolation: #isolation) else {
        throw GRPCTestFailure("the connection is closed")
      }
      try peer.receive(bytes)
      try? await act { _ in }
    }
  }

  func readUntilClosed() async {
    try? await read { _ in false }
  }
}
