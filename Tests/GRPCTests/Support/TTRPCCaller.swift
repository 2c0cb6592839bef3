import Domain
import NIOCore
import NIOPosix
import Wire

/// Makes one ttRPC call on a connection of its own.
enum TTRPCCaller {
  static func reply(to call: Call, at address: Address) async throws -> Reply {
    guard case .unix(let path) = address else { throw GRPCTestFailure("a Unix socket is asked for") }
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(unixDomainSocketPath: path) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await channel.executeThenClose { inbound, outbound in
      try await outbound.write(ByteBuffer(bytes: Envelope.frame(call, stream: 1)))
      var decoder = FrameDecoder(
        frameBytesMax: Limits.frameBytesMax, discardBytesMax: Limits.frameDiscardBytesMax)
      for try await bytes in inbound {
        bytes.withUnsafeReadableBytes { decoder.append($0) }
        if case .frame(_, let data) = decoder.next() { return try Envelope.reply(data) }
      }
      throw GRPCTestFailure("no answer came")
    }
  }
}
