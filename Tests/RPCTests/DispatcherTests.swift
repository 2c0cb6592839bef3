import Auth
import Core
import Messages
import NIOCore
import NIOPosix
import Service
import Synchronization
import TestSupport
import Testing

@testable import RPC

/// What every call passes before its handler, and who is taken for known by it.
struct DispatcherTests {
  private final class Peer: CallPeer {
    let isKnown = Mutex(false)
    func authenticated(as tenant: Tenant) { isKnown.withLock { $0 = true } }
  }

  private let peer = Peer()
  private let loop = MultiThreadedEventLoopGroup.singleton.any()

  private func dispatcher() async -> Dispatcher {
    Dispatcher(
      noStore.methods + Health().methods,
      verifier: await TokenVerifier(.init(keys: [.hs256(secret: testSecret)])), logger: .silent)
  }

  /// What a call is answered, on a connection of its own.
  private func reply(
    _ dispatcher: Dispatcher, to method: MethodName, token: String?, payload: [UInt8] = []
  ) async throws -> Reply {
    let method = try dispatcher.method(service: method.service, name: method.name)
    let metadata = token.map { Metadata.authorized(by: $0) } ?? Metadata()
    let context = CallContext(metadata: metadata, peer: peer, bytes: payload.count)
    return try await loop.flatSubmit { [loop] in
      let unread = UnreadResponses(memory: ResponseMemory(), loop: loop) { _ in }
      let runner = CallRunner(
        interceptors: dispatcher.interceptors, memory: CallMemory(), unread: unread, turns: LoopTurns(loop))
      let promise = loop.makePromise(of: Reply.self)
      guard case .unary(let body) = method.handler else { return loop.makeFailedFuture(TestFailure("it streams")) }
      runner.run(method, context, timeout: .seconds(60)) { context, completion in
        body(context, RPCMessage(bytes: payload, wasCompressed: false), completion)
      } answer: {
        // The connection lives until then.
        _ = runner
        promise.succeed($0.reply)
      }
      return promise.futureResult
    }.get()
  }

  private var isKnown: Bool { peer.isKnown.withLock(\.self) }

  @Test func healthIsToldWithoutAToken() async throws {
    let check = MethodName(service: HealthCheck.service, name: "Check")
    #expect(try await reply(dispatcher(), to: check, token: nil).get() == [0x08, 0x01] && !isKnown)
  }

  @Test func unknownMethodIsNamed() async {
    let dispatcher = await dispatcher()
    for (service, name) in [(MethodName.interactionService, "Forget"), ("other", "GetStats")] {
      let error = #expect(throws: RPCError.self) { try dispatcher.method(service: service, name: name) }
      #expect(error?.reason == .methodUnknown && error?.message.contains(name) == true)
    }
  }

  @Test func strangersHaveNothingDecoded() async throws {
    let reply = try await reply(dispatcher(), to: GetStats.method, token: nil, payload: [0xff])
    #expect(reply.error?.reason == .tokenMissing && !isKnown)
  }

  @Test func callerIsKnownByAValidToken() async throws {
    let (dispatcher, token) = (await dispatcher(), try await signedToken(of: "acme"))
    // The first is verified, the second remembered.
    for _ in 0..<2 {
      #expect(
        try await reply(dispatcher, to: GetStats.method, token: token, payload: [0xff]).error?.code == .invalidArgument)
      #expect(isKnown)
    }
  }

  @Test func wrongTokenLeavesAStranger() async throws {
    let token = try await signedToken(of: "acme")
    #expect(try await reply(dispatcher(), to: GetStats.method, token: token + "x").error?.code == .unauthenticated)
    #expect(!isKnown)
  }

  @Test func scopeIsLookedAtBeforeTheRequest() async throws {
    let token = try await signedToken(of: "acme", scope: "interactions:record")
    let reply = try await reply(dispatcher(), to: GetStats.method, token: token, payload: [0xff])
    #expect(reply.error?.reason == .scopeMissing && isKnown)
  }

  @Test func onlyReadsAreSaidToHaveLargeResponses() {
    for method in noStore.methods {
      let isRead = ![RecordInteraction.method, RecordInteractions.method].contains(method.name)
      #expect((method.responseBytesMax > 0) == isRead && method.scope == (isRead ? .view : .record))
    }
    #expect(Health().methods.allSatisfy { $0.responseBytesMax == 0 && $0.scope == nil })
  }
}
