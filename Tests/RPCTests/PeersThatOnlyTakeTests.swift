import Core
import Foundation
import Messages
import Service
import TestSupport
import Testing

@testable import RPC

/// Peers that connect and say nothing, or ask and read no responses: they are cut off, and cost the others nothing.
@Suite(.timeLimit(.minutes(5)))
struct PeersThatOnlyTakeTests {
  @Test func silentConnectionIsClosedAfterItsTime() async throws {
    try await withFolder { folder in
      let server = try await RunningServer.start([.unix(path: "\(folder)/s")])
      let begun = ContinuousClock.now
      let silent = try RawConnection(to: server.addresses[0])
      let undecided = try RawConnection(to: server.addresses[0])
      try await undecided.send(Array("P".utf8))
      let limit = Duration.seconds(Limits.undecidedSecondsMax)
      await silent.expectClosed()
      await undecided.expectClosed()
      #expect(ContinuousClock.now - begun > limit - .seconds(1))
      try await server.stop()
    }
  }

  /// Strangers that fill one address keep nobody out, there or at another.
  @Test func silentConnectionsMakeRoomForNewOnes() async throws {
    try await withFolder { folder in
      let server = try await RunningServer.start([.unix(path: "\(folder)/s"), .tcp(host: "127.0.0.1", port: 0)]) {
        ($0.connectionsMax, $0.undecidedConnectionsMax) = (64, 8)
      }
      let call = Call(
        service: MethodName.interactionService, method: "GetStats", metadata: .init(), timeout: nil, payload: [])
      var crowd: [RawConnection] = []
      for round in 0..<200 {
        // Half of them say nothing, the others ask once and stay.
        let stranger = try RawConnection(to: server.addresses[1])
        if round % 2 == 0 { try? await stranger.send(stranger.makeFrame(call).bytes) }
        crowd.append(stranger)
      }
      for address in server.addresses {
        #expect(try await RawConnection(to: address).reply(to: call).error?.reason == .tokenMissing)
      }
      try await eventually("the first made room") {
        crowd[0].isHungUp && crowd[1].isHungUp && crowd.count { !$0.isHungUp } <= 64
      }
      try await server.stop()
    }
  }

  @Test func connectionWithAValidTokenKeepsItsPlace() async throws {
    try await withFolder { folder in
      let server = try await RunningServer.start([.unix(path: "\(folder)/s")]) { $0.connectionsMax = 4 }
      let known = try RawConnection(to: server.addresses[0])
      let call = Call(
        service: MethodName.interactionService, method: "GetStats",
        metadata: .authorized(by: try await signedToken(of: "acme")), timeout: nil, payload: [0xff])
      #expect(try await known.reply(to: call).error?.code == .invalidArgument)
      var crowd: [RawConnection] = []
      for _ in 0..<40 {
        crowd.append(try RawConnection(to: server.addresses[0]))
        #expect(try await crowd.last!.reply(to: .withoutToken).error?.reason == .tokenMissing)
      }
      #expect(!known.isHungUp)
      #expect(try await known.reply(to: call).error?.code == .invalidArgument)
      try await server.stop()
    }
  }

  @Test func idleStrangerIsClosedAndAKnownCallerIsNot() async throws {
    try await withFolder { folder in
      let server = try await RunningServer.start([.unix(path: "\(folder)/s")]) {
        $0.strangerIdleTime = .milliseconds(400)
      }
      let known = try RawConnection(to: server.addresses[0])
      let call = Call(
        service: MethodName.interactionService, method: "GetStats",
        metadata: .authorized(by: try await signedToken(of: "acme")), timeout: nil, payload: [0xff])
      #expect(try await known.reply(to: call).error?.code == .invalidArgument)
      let stranger = try RawConnection(to: server.addresses[0])
      #expect(try await stranger.reply(to: .withoutToken).error?.reason == .tokenMissing)
      await stranger.expectClosed()
      #expect(!known.isHungUp)
      try await server.stop()
    }
  }

  /// (Over TCP the peer would only see it behind all that it did not read.)
  @Test func peerThatNeverReadsLargeAnswersIsCutOff() async throws {
    func isShort(_ configuration: inout ParleyServer.Configuration) {
      configuration.unreadResponseTimeout = .seconds(2)
    }
    try await TestServer.with(configure: isShort) { server in
      let witness = try server.connect()
      try await witness.expectService(as: server.token)
      try await server.recordLargePage()
      let peer = try server.connect()
      let request = ListInteractions(pageSize: 200, view: .full)
      let answers = 2 * Limits.unreadResponseBytesPerConnectionMax / Limits.pageBytesMax
      try await peer.send(
        (0..<answers).flatMap { _ in peer.makeFrame(ListInteractions.method, request, server.token).bytes })
      try await eventually("the peer is cut off", within: .seconds(Limits.unreadResponseSecondsMax)) { peer.isHungUp }
      try await witness.expectService(as: server.token)
    }
  }

  /// One that asks for much at once and reads slowly gets all of it.
  @Test func largeAnswersWaitForThoseBeforeThemToBeRead() async throws {
    try await TestServer.with { server in
      try await server.recordLargePage()
      let peer = try server.connect()
      let request = ListInteractions(pageSize: 200, view: .full)
      let count = 2 * Limits.unreadResponseBytesPerConnectionMax / Limits.pageBytesMax
      try await peer.send(
        (0..<count).flatMap { _ in peer.makeFrame(ListInteractions.method, request, server.token).bytes })
      // None is read until the server has nothing left to do for this peer.
      try await eventually("the reads are done") {
        try server.database.sql(
          """
          SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'parley reader'
          AND state <> 'idle'
          """
        ).isEmpty
      }
      for _ in 0..<count {
        #expect(try await InteractionPage(encoded: peer.nextReply().reply.get()).interactions.count > 15)
      }
    }
  }

  /// Many that ask and do not read hold no more than the server has for them.
  @Test func unreadAnswersOfManyPeersAreBounded() async throws {
    let bytesMax = 16 << 20
    func isSmall(_ configuration: inout ParleyServer.Configuration) { configuration.unreadResponseBytesMax = bytesMax }
    try await TestServer.with(configure: isSmall) { server in
      try await server.recordLargePage()
      let request = ListInteractions(pageSize: 200, view: .full)
      var peers: [RawConnection] = []
      for _ in 0..<12 {
        let peer = try server.connect()
        try await peer.start(ListInteractions.method, request, server.token)
        peers.append(peer)
      }
      let fit = bytesMax / (5 << 19)
      try await eventually("some are cut off") { peers.count { !$0.isHungUp } <= fit }
      // Who reads is served all the while.
      let reader = try server.connect()
      for _ in 0..<3 {
        let page: InteractionPage = try await reader.answer(ListInteractions.method, request, server.token)
        #expect(page.interactions.count > 15)
      }
    }
  }

  /// A peer that asks on and on and never reads is soon read from no further; when it reads at last,
  /// no response is missing.
  @Test func peerThatNeverReadsIsReadFromNoFurther() async throws {
    try await surviving { _, address in
      let peer = try RawConnection(to: address)
      let call = Call(
        service: MethodName.interactionService, method: "GetStats", metadata: .init(), timeout: nil, payload: [])
      var rest: ArraySlice<UInt8> = []
      var sent = 0
      var asked = 0
      var lastProgress = ContinuousClock.now
      while ContinuousClock.now - lastProgress < .seconds(1) {
        if rest.isEmpty {
          rest = peer.makeFrame(call).bytes[...]
          asked += 1
        }
        let count = try peer.sendSome(rest)
        rest = rest.dropFirst(count)
        sent += count
        if count > 0 { lastProgress = .now } else { try await Task.sleep(for: .milliseconds(5)) }
        try #require(sent < 16 << 20, "the server reads without end")
      }
      for _ in 0..<asked {
        #expect(try await peer.nextReply().reply.error?.reason == .tokenMissing)
        if !rest.isEmpty { rest = rest.dropFirst(try peer.sendSome(rest)) }
      }
    }
  }

  @Test func peerThatTakesNoneOfItsSmallAnswersIsCutOffInTime() async throws {
    try await withFolder { folder in
      let server = try await RunningServer.start([.unix(path: "\(folder)/s")]) {
        $0.unreadResponseTimeout = .seconds(8)
      }
      let peer = try RawConnection(to: server.addresses[0])
      let slow = try RawConnection(to: server.addresses[0])
      let call = Call(
        service: MethodName.interactionService, method: "GetStats", metadata: .init(), timeout: nil, payload: [])
      var asked = 0
      while !peer.isHungUp {
        asked += (try? await askUntilReadNoFurther(peer, call)) ?? 0
        // One that lets them wait and takes them in time may go on.
        for _ in 0..<(try await askUntilReadNoFurther(slow, call)) { _ = try await slow.nextReply() }
      }
      var replies = 0
      while (try? await peer.nextReply()) != nil { replies += 1 }
      #expect(replies < asked)
      try await server.stop()
    }
  }

  /// Asks until the server reads no further, since nobody takes its responses.
  ///
  /// - Returns: how often it has asked in full.
  private func askUntilReadNoFurther(_ peer: RawConnection, _ call: Call) async throws -> Int {
    var asked = 0
    var lastProgress = ContinuousClock.now
    while ContinuousClock.now - lastProgress < .milliseconds(300) {
      let bytes = peer.makeFrame(call).bytes
      if try peer.sendSome(bytes[...]) > 0 {
        (asked, lastProgress) = (asked + 1, .now)
      } else {
        try await Task.sleep(for: .milliseconds(5))
      }
    }
    return asked
  }
}

extension TestServer {
  /// Records more than fills a page of full interactions.
  func recordLargePage() async throws {
    let connection = try connect()
    for _ in 0..<2 {
      let drafts = (0..<15).map { _ in
        var draft = InteractionDraft.sample()
        draft.content.customerMessage = String(repeating: "c", count: Limits.customerMessageBytesMax)
        draft.content.agentResponse = String(repeating: "a", count: Limits.agentResponseBytesMax)
        return Result<InteractionDraft, RPCError>.success(draft)
      }
      let results: [Result<Recorded, RPCError>] = try await connection.answer(
        RecordInteractions.method, RecordInteractions(interactions: drafts), token)
      for result in results { _ = try result.get() }
    }
  }
}
