import Core
import Messages
import RPC
import Testing

/// The service `liveness` tells whether the process works, whatever else is amiss.
@Suite(.timeLimit(.minutes(5))) struct LivenessTests {
  private let serving: [UInt8] = [0x08, 0x01]
  private let notServing: [UInt8] = [0x08, 0x02]
  /// A request that names the service.
  private let liveness = [0x0a, UInt8(HealthCheck.liveness.utf8.count)] + Array(HealthCheck.liveness.utf8)

  @Test func staysServingWhileTheDatabaseIsAway() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      #expect(try await client.call(healthCheck, liveness).messages() == [serving])
      server.health.setDatabaseAway(true)
      #expect(try await client.call(healthCheck).messages() == [notServing])
      #expect(try await client.call(healthCheck, liveness).messages() == [serving])
      let call = Call(
        service: HealthCheck.service, method: "Check", metadata: Metadata(), timeout: nil, payload: liveness)
      #expect(try await TTRPCCaller.reply(to: call, at: server.address).get() == serving)
    }
  }

  @Test func itsWatchersAreToldOnceAndEndWithTheDrain() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let watch = try await client.start(healthWatch, liveness)
      let other = try await client.start(healthWatch)
      for stream in [watch, other] {
        try await client.read { try $0.answerSoFar(to: stream).messages() == [serving] }
      }
      server.health.setDatabaseAway(true)
      try await client.read { try $0.answerSoFar(to: other).messages() == [serving, notServing] }
      await server.startDraining()
      let answer = try await client.answer(to: watch)
      #expect(try answer.messages() == [serving])
      #expect(try answer.error() == .draining)
      try await server.ended()
    }
  }
}
