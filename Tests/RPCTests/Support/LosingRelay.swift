import Core
import Messages
import NIOCore
import NIOPosix
import Synchronization

/// Stands between a client and a server and loses answers: each of its first connections is cut when
/// the first response comes, which the client then never sees.
final class LosingRelay: Sendable {
  let address: Address
  private let listener: any Channel
  private let counts: Counts

  private final class Counts: Sendable {
    let accepted = Atomic<Int>(0)
  }

  /// How many connections were made through it.
  var accepted: Int { counts.accepted.load(ordering: .relaxed) }

  init(at path: String, to target: String, losing losses: Int) async throws {
    let counts = Counts()
    self.counts = counts
    address = .unix(path: path)
    listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { client in
        let number = counts.accepted.add(1, ordering: .relaxed).newValue
        return ClientBootstrap(group: client.eventLoop).connect(unixDomainSocketPath: target).flatMapThrowing {
          server in
          try client.pipeline.syncOperations.addHandler(Pipe(to: server))
          try server.pipeline.syncOperations.addHandler(Pipe(to: client, isCut: number <= losses))
        }
      }
      .bind(unixDomainSocketPath: path).get()
  }

  func close() async throws {
    try await listener.close()
  }

  private final class Pipe: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel
    private let isCut: Bool

    init(to other: any Channel, isCut: Bool = false) {
      self.other = other
      self.isCut = isCut
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      if isCut {
        context.close(promise: nil)
      } else {
        other.writeAndFlush(unwrapInboundIn(data), promise: nil)
      }
    }

    func channelInactive(context: ChannelHandlerContext) {
      other.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      context.close(promise: nil)
    }
  }
}
