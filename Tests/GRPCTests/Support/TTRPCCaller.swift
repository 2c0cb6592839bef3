import Core
import Messages
import NIOCore
import NIOPosix

/// One ttRPC call on a connection of its own.
enum TTRPCCaller {
  static func reply(to call: Call, at address: Address) async throws -> Reply {
    try await frames(sending: [Envelope.frame(call, stream: 1)], to: address).last.map { try Envelope.reply($0.data) }
      ?? .failure(.cancelled)
  }

  /// Sends frames of stream 1, and answers with those that come back, up to the one that ends the stream.
  static func frames(
    sending frames: [[UInt8]], to address: Address
  ) async throws -> [(header: FrameHeader, data: [UInt8])] {
    guard case .unix(let path) = address else { throw GRPCTestFailure("a Unix socket is asked for") }
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(unixDomainSocketPath: path) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await channel.executeThenClose { inbound, outbound in
      for frame in frames { try await outbound.write(ByteBuffer(bytes: frame)) }
      var decoder = FrameDecoder(
        frameBytesMax: Limits.frameBytesMax, discardBytesMax: Limits.frameDiscardBytesMax)
      var received: [(header: FrameHeader, data: [UInt8])] = []
      for try await bytes in inbound {
        bytes.withUnsafeReadableBytes { decoder.append($0) }
        while case .frame(let header, let data) = decoder.next() {
          received.append((header, data))
          if header.kind == .response || header.flags.contains(.remoteClosed) { return received }
        }
      }
      throw GRPCTestFailure("the stream has not ended")
    }
  }
}
