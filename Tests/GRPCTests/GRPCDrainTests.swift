import Core
import Messages
import NIOHTTP2
import RPC
import TestSupport
import Testing

/// Graceful shutdown as gRPC clients see it.
@Suite(.timeLimit(.minutes(5)))
struct GRPCDrainTests {
  private let serving: [UInt8] = [0x08, 0x01]
  private let notServing: [UInt8] = [0x08, 0x02]
  private let serviceUnknown: [UInt8] = [0x08, 0x03]

  @Test func goAwayComesInTwoStepsAndCallsInFlightAreAnswered() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let idle = try await server.connect()
      #expect(try await idle.call(healthCheck).code == 0)
      let lock = try await server.lockTable()
      let stream = try await client.start(path(GetStats.method), GetStats().encoded(), server.authorized)
      try await server.waitUntilStatementsWait(1)
      await server.startDraining()
      try await client.read { $0.goAways.count == 1 }
      await idle.readUntilClosed()
      #expect(idle.goAways == [.maxID, 1])
      try lock.sql("COMMIT")
      #expect(try await client.answer(to: stream).code == 0)
      await client.readUntilClosed()
      #expect(client.isClosed && client.goAways == [.maxID, stream])
      try await server.ended()
    }
  }

  /// A record waits for PostgreSQL when the end is announced, and another call comes after that: the first is
  /// answered, and the second refused so that its client may send it elsewhere.
  @Test(arguments: [true, false])
  func callThatComesTooLateIsRefusedAndTheOthersAreAnswered(isDrain: Bool) async throws {
    var configuration = GRPCConnectionConfiguration()
    if !isDrain { configuration.ageSecondsMax = 1 }
    try await GRPCServer.with(grpc: configuration) { server in
      let lock = try await server.lockTable()
      let client = try await RawHTTP2Client(to: server.address)
      let request = RecordInteraction(interaction: .sample()).encoded()
      func record(on stream: Int) async throws {
        try await client.act {
          $0.open(path(RecordInteraction.method), on: stream, server.authorized)
          $0.send(request, on: stream)
        }
      }
      try await record(on: 1)
      try await server.waitUntilStatementsWait(1, of: "owner")
      if isDrain { await server.startDraining() }
      try await client.read { !$0.goAways.isEmpty }
      try await record(on: 3)
      try await client.read { $0.received(on: 3).reset != nil }
      #expect(client.received(on: 3).reset == RawHTTP2Peer.refusedStream)
      try lock.sql("COMMIT")
      try await client.read { $0.received(on: 1).isEnded }
      #expect(client.received(on: 1).code == "0")
      await client.readUntilClosed()
      #expect(client.goAways == [RawHTTP2Peer.noLastStream, 1])
      #expect(try server.database.sql("SELECT count(*) FROM parley.interactions")[0][0] == "2")
    }
  }

  @Test func silentPeerHoldsTheDrainUpNoLongerThanIsAllowed() async throws {
    try await GRPCServer.with { server in
      let client = try await HTTP2Client(to: server.address, answersPings: false)
      #expect(try await client.call(healthCheck).code == 0)
      let begun = ContinuousClock.now
      try await server.stop()
      #expect(ContinuousClock.now - begun < .seconds(Limits.goAwaySecondsMax + Limits.lingerSecondsMax + 10))
    }
  }

  // MARK: Connections that are ended while the server goes on

  @Test func peerThatDoesNotAnswerPingsIsClosed() async throws {
    var configuration = GRPCConnectionConfiguration()
    (configuration.keepaliveSeconds, configuration.keepaliveTimeoutSeconds) = (1, 1)
    try await GRPCServer.with(grpc: configuration) { server in
      let live = try await server.connect()
      let begun = ContinuousClock.now
      let silent = try await HTTP2Client(to: server.address, answersPings: false)
      _ = try await silent.start(healthWatch)
      await silent.readUntilClosed()
      #expect(ContinuousClock.now - begun >= .seconds(2))
      #expect(try await live.call(healthCheck).code == 0)
    }
  }

  @Test func connectionWithoutCallsIsEndedWhenItsTimeIsUp() async throws {
    var configuration = GRPCConnectionConfiguration()
    configuration.idleSecondsMax = 1
    try await GRPCServer.with(grpc: configuration) { server in
      let watcher = try await server.connect()
      let stream = try await watcher.start(healthWatch)
      let idle = try await server.connect()
      let begun = ContinuousClock.now
      #expect(try await idle.call(healthCheck).code == 0)
      await idle.readUntilClosed()
      #expect(idle.goAways.count == 2)
      #expect(ContinuousClock.now - begun >= .seconds(1))
      #expect(try await watcher.call(healthCheck).code == 0)
      #expect(!watcher.answerSoFar(to: stream).isEnded)
    }
  }

  @Test func oldConnectionIsEndedGently() async throws {
    var configuration = GRPCConnectionConfiguration()
    configuration.ageSecondsMax = 1
    try await GRPCServer.with(grpc: configuration) { server in
      let client = try await server.connect()
      let lock = try await server.lockTable()
      let stream = try await client.start(path(GetStats.method), GetStats().encoded(), server.authorized)
      try await client.read { $0.goAways.count == 1 }
      try lock.sql("COMMIT")
      #expect(try await client.answer(to: stream).code == 0)
      await client.readUntilClosed()
      #expect(client.isClosed && client.goAways == [.maxID, stream])
      #expect(try await server.connect().call(healthCheck).code == 0)
    }
  }

  @Test func watchersAreToldAndDoNotHoldTheDrainUp() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let known = try await client.start(healthWatch)
      let named = try await client.start(
        healthWatch, [0x0a, UInt8(MethodName.interactionService.utf8.count)] + MethodName.interactionService.utf8)
      let unknown = try await client.start(healthWatch, [0x0a, 0x01, 0x78])
      try await client.read { client in
        [known, named, unknown].allSatisfy { !client.answerSoFar(to: $0).data.isEmpty }
      }
      let begun = ContinuousClock.now
      await server.startDraining()
      for (stream, messages) in [
        (known, [serving, notServing]), (named, [serving, notServing]), (unknown, [serviceUnknown]),
      ] {
        let answer = try await client.answer(to: stream)
        #expect(try answer.messages() == messages)
        #expect(try answer.error() == .draining)
      }
      try await server.ended()
      #expect(ContinuousClock.now - begun < .seconds(Limits.drainSecondsMax - 5))
    }
  }

  @Test func watchersFollowTheDatabaseAndEndWhileItIsAway() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let stream = try await client.start(healthWatch)
      func told(_ messages: [[UInt8]]) async throws {
        try await client.read { try $0.answerSoFar(to: stream).messages() == messages }
      }
      try await told([serving])
      server.health.setDatabaseAway(true)
      try await told([serving, notServing])
      #expect(try await client.call(healthCheck).messages() == [notServing])
      server.health.setDatabaseAway(false)
      try await told([serving, notServing, serving])
      server.health.setDatabaseAway(true)
      try await told([serving, notServing, serving, notServing])
      let begun = ContinuousClock.now
      await server.startDraining()
      #expect(try await client.answer(to: stream).error() == .draining)
      try await server.ended()
      #expect(ContinuousClock.now - begun < .seconds(Limits.drainSecondsMax - 5))
    }
  }
}
