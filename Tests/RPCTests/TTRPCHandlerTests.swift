import Auth
import Core
import Messages
import NIOCore
import NIOEmbedded
import NIOExtras
import Service
import Synchronization
import TestSupport
import Testing

@testable import RPC

/// One ttRPC connection, step by step and without sockets. Its calls are refused for want of a token, at once.
struct TTRPCHandlerTests {
  private final class Stage {
    let loop = EmbeddedEventLoop()
    let channel: EmbeddedChannel
    /// Of this connection alone.
    let table = ConnectionTable(listeners: 1, connectionsMax: 1, undecidedMax: 1)
    let connection: AcceptedConnection
    private(set) weak var handler: TTRPCHandler?
    private var nextStream: UInt32 = 1

    init(
      _ dispatcher: Dispatcher, _ configuration: ParleyServer.Configuration, requests: RequestMemory = RequestMemory()
    ) throws {
      channel = EmbeddedChannel(loop: loop)
      try channel.connect(to: SocketAddress(unixDomainSocketPath: "/none")).wait()
      connection = try #require(table.add(channel, listener: 0))
      let unread = UnreadResponses(memory: ResponseMemory(), loop: loop) { _ in }
      let runner = CallRunner(
        interceptors: dispatcher.interceptors, memory: CallMemory(), unread: unread, turns: LoopTurns(loop))
      let edge = ConnectionEdge()
      let handler = TTRPCHandler(
        dispatcher: dispatcher, runner: runner, unread: unread,
        unfinished: UnfinishedRequests(memory: requests, connection: connection), edge: edge, connection: connection,
        configuration: configuration, loop: loop, logger: .silent)
      try channel.pipeline.syncOperations.addHandlers([edge, handler])
      self.handler = handler
    }

    func call(_ call: Call = .withoutToken) {
      _ = try? channel.writeInbound(ByteBuffer(bytes: Envelope.frame(call, stream: nextStream)))
      nextStream += 2
      loop.run()
    }

    func drain() {
      channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
      loop.run()
    }

    /// Whether another connection makes this one give its place up.
    func makesRoom() -> Bool { table.add(EmbeddedChannel(loop: loop), listener: 0) != nil }

    /// The reasons of what was answered since.
    func reasons() throws -> [RPCError.Reason?] {
      var decoder = FrameDecoder(frameBytesMax: Limits.frameBytesMax, discardBytesMax: Limits.frameDiscardBytesMax)
      while let bytes = try channel.readOutbound(as: ByteBuffer.self) {
        bytes.withUnsafeReadableBytes { decoder.append($0) }
      }
      var reasons: [RPCError.Reason?] = []
      while case .frame(_, let data) = decoder.next() { reasons.append(try Envelope.reply(data).error?.reason) }
      return reasons
    }
  }

  private func stage(
    requests: RequestMemory = RequestMemory(), _ body: @escaping (Stage) throws -> Void
  ) async throws {
    let dispatcher = Dispatcher(
      noStore.methods,
      verifier: await TokenVerifier(.init(keys: [.hs256(secret: testSecret)])), logger: .silent)
    // The loop belongs to the thread that makes it.
    try body(try Stage(dispatcher, ParleyServer.Configuration(addresses: []), requests: requests))
  }

  private let quiet = TimeAmount.milliseconds(Limits.drainQuietMilliseconds)

  @Test func callsThatComeWhileItDrainsAreToldSo() async throws {
    try await stage { stage throws in
      stage.call()
      #expect(try stage.reasons() == [.tokenMissing])
      stage.drain()
      stage.loop.advanceTime(by: quiet - .milliseconds(1))
      stage.call()
      stage.loop.advanceTime(by: quiet - .milliseconds(1))
      stage.call()
      #expect(try stage.reasons() == [.draining, .draining] && stage.channel.isActive)
      stage.loop.advanceTime(by: quiet)
      #expect(!stage.channel.isActive)
    }
  }

  @Test func frameThatHasBegunEndsItsConnectionWhereTheServerHasNoRoom() async throws {
    try await stage(requests: RequestMemory(strangerBytesMax: 1 << 20)) { stage throws in
      stage.call()
      var frame = ByteBuffer(bytes: Envelope.frame(.withoutToken, stream: 3).prefix(FrameHeader.bytes))
      frame.setInteger(UInt32(2 << 20), at: 0)
      frame.writeRepeatingByte(0, count: 1_000_000)
      _ = try? stage.channel.writeInbound(frame)
      stage.loop.run()
      #expect(stage.channel.isActive)
      _ = try? stage.channel.writeInbound(ByteBuffer(repeating: 0, count: 500_000))
      stage.loop.advanceTime(by: .seconds(Limits.lingerSecondsMax))
      #expect(try !stage.channel.isActive && stage.reasons() == [.tokenMissing])
    }
  }

  @Test func drainEndsHoweverMuchIsAsked() async throws {
    try await stage { stage throws in
      stage.drain()
      let begun = stage.loop.now
      while stage.channel.isActive, stage.loop.now < begun + .seconds(60) {
        stage.call()
        stage.loop.advanceTime(by: .milliseconds(50))
      }
      #expect(stage.loop.now - begun <= .seconds(Limits.lingerSecondsMax) + .milliseconds(50))
      #expect(try stage.reasons().allSatisfy { $0 == .draining })
    }
  }

  @Test func strangerIsClosedWhenItHasBeenIdleForLong() async throws {
    try await stage { stage throws in
      stage.call()
      for _ in 0..<11 {
        stage.loop.advanceTime(by: .seconds(Limits.strangerIdleSecondsMax / 2))
        stage.call()
      }
      #expect(stage.channel.isActive)
      stage.loop.advanceTime(by: .seconds(Limits.strangerIdleSecondsMax + 10))
      #expect(!stage.channel.isActive)
    }
  }

  @Test func connectionIsNotIdleWhileACallIsUnderWay() throws {
    let waiting = Mutex<[Completion<Response>]>([])
    let method = Method(
      MethodName(service: "stub", name: "Wait"), scope: nil,
      .unary { _, _, completion in
        waiting.withLock { $0.append(completion) }
        return {}
      })
    let stage = try Stage(Dispatcher([method], interceptors: []), ParleyServer.Configuration(addresses: []))
    stage.connection.authenticated(as: Tenant("acme")!)
    stage.call(Call(service: "stub", method: "Wait", metadata: Metadata(), timeout: nil, payload: []))
    func pass(_ seconds: Int64) { for _ in 0..<seconds / 5 { stage.loop.advanceTime(by: .seconds(5)) } }
    pass(50)
    waiting.withLock { $0.removeLast() }.complete(.success(Response([])))
    pass(Limits.knownIdleSecondsMin - 10)
    #expect(!stage.makesRoom(), "since the call ended, not since it began")
    pass(15)
    #expect(stage.makesRoom())
  }

  @Test func closedConnectionKeepsNothing() async throws {
    try await stage { stage throws in
      stage.call()
      stage.drain()
      #expect(stage.handler != nil)
      stage.channel.close(promise: nil)
      stage.loop.advanceTime(by: .seconds(120))
      #expect(stage.handler == nil)
    }
  }
}
