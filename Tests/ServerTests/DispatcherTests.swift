import Domain
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Server

/// How far a call comes before anything is waited for, and who is taken for known by it.
struct DispatcherTests {
  private final class Peer: CallPeer {
    let isKnown = Mutex(false)
    func authenticated() { isKnown.withLock { $0 = true } }
  }

  private let peer = Peer()

  private func dispatcher() async -> Dispatcher {
    Dispatcher(
      verifier: await TokenVerifier(.init(keys: [.hs256(secret: testSecret)])),
      service: InteractionService(store: noStore), health: Health(), logger: .silent)
  }

  private func call(_ method: String, token: String?, payload: [UInt8] = [], service: String = Method.service) -> Call {
    let metadata = token.map { Metadata.authorized(by: $0) } ?? Metadata()
    var call = Call(service: service, method: method, metadata: metadata, timeout: nil, payload: payload)
    call.peer = peer
    return call
  }

  private func error(_ progress: CallProgress<Reply>) -> RPCError? {
    if case .replied(let reply) = progress { reply.error } else { nil }
  }

  private var isKnown: Bool { peer.isKnown.withLock(\.self) }

  @Test func healthIsToldWithoutAToken() async throws {
    let progress = await dispatcher().begin(call("Check", token: nil, service: HealthCheck.service))
    guard case .replied(.success(let message)) = progress else {
      Issue.record("not replied")
      return
    }
    #expect(message == [0x08, 0x01] && !isKnown)
  }

  @Test func methodIsLookedAtBeforeTheToken() async {
    let dispatcher = await dispatcher()
    #expect(error(dispatcher.begin(call("Forget", token: nil)))?.reason == .methodUnknown)
    #expect(error(dispatcher.begin(call("GetStats", token: nil, service: "other")))?.reason == .methodUnknown)
  }

  @Test func strangersHaveNothingDecoded() async {
    let progress = await dispatcher().begin(call("GetStats", token: nil, payload: [0xff]))
    #expect(error(progress)?.reason == .tokenMissing && !isKnown)
  }

  @Test func newTokenIsVerifiedFirstAndThenKnown() async throws {
    let dispatcher = await dispatcher()
    let token = try await signedToken(of: "acme")
    let malformed = call("GetStats", token: token, payload: [0xff])
    guard case .working(for: nil, let work) = dispatcher.begin(malformed) else {
      Issue.record("it does not wait")
      return
    }
    #expect(!isKnown)
    #expect(await work().error?.code == .invalidArgument)
    #expect(isKnown)
    #expect(error(dispatcher.begin(malformed))?.code == .invalidArgument)
    guard case .working(for: let tenant?, _) = dispatcher.begin(call("GetStats", token: token)) else {
      Issue.record("its tenant is not told")
      return
    }
    #expect(tenant.description == "acme")
  }

  @Test func wrongTokenLeavesAStranger() async throws {
    let token = try await signedToken(of: "acme")
    guard case .working(_, let work) = await dispatcher().begin(call("GetStats", token: token + "x")) else {
      // Refused at once.
      #expect(!isKnown)
      return
    }
    #expect(await work().error?.code == .unauthenticated)
    #expect(!isKnown)
  }

  @Test func onlyReadsAreSaidToHaveLargeResponses() {
    for method in Method.allCases {
      let isRead = ![.recordInteraction, .recordInteractions].contains(method)
      #expect((call(method.rawValue, token: nil).size.responseBytesMax > 0) == isRead)
    }
    #expect(call("Check", token: nil).size.responseBytesMax == 0)
  }
}
