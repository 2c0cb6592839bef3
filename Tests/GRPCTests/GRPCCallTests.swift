import Core
import Messages
import NIOHTTP2
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(5)))
struct GRPCCallTests {
  @Test func resetStreamCancelsItsStatementAlone() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let lock = try await server.lockTable()
      let given = try await client.start(path(GetStats.method), GetStats().encoded(), server.authorized)
      let kept = try await client.start(path(GetStats.method), GetStats().encoded(), server.authorized)
      try await server.waitUntilStatementsWait(2)
      try await client.reset(given)
      try await server.waitUntilStatementsWait(1)
      try lock.sql("COMMIT")
      #expect(try await client.answer(to: kept).code == 0)
      #expect(!client.answerSoFar(to: given).isEnded)
    }
  }

  @Test func lostConnectionCancelsItsStatements() async throws {
    try await GRPCServer.with { server in
      let lock = try await server.lockTable()
      var client: HTTP2Client? = try await server.connect()
      for _ in 0..<3 { _ = try await client?.start(path(GetStats.method), GetStats().encoded(), server.authorized) }
      try await server.waitUntilStatementsWait(3)
      client = nil
      try await server.waitUntilStatementsWait(0)
      try lock.sql("COMMIT")
    }
  }

  @Test func deadlineCancelsTheStatement() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let lock = try await server.lockTable()
      let begun = ContinuousClock.now
      let stream = try await client.start(
        path(GetStats.method), GetStats().encoded(), server.authorized + [("grpc-timeout", "10S")])
      try await server.waitUntilStatementsWait(1)
      let answer = try await client.answer(to: stream)
      #expect(answer.code == 4)
      #expect(try answer.error() == .deadlineExceeded)
      #expect(ContinuousClock.now - begun >= .seconds(10))
      try await server.waitUntilStatementsWait(0)
      try lock.sql("COMMIT")
      #expect(try await client.call(path(GetStats.method), GetStats().encoded(), server.authorized).code == 0)
    }
  }

  @Test func peerWhoseWindowsTakeNothingIsCutOffInTime() async throws {
    try await GRPCServer.with(unreadResponseTimeout: .milliseconds(600)) { server in
      // It never asks, and is none of them.
      let watcher = try await server.connect()
      let watched = try await watcher.start(healthWatch)
      for method in [healthCheck, healthWatch] {
        let client = try await HTTP2Client(to: server.address, windowBytes: 0)
        let begun = ContinuousClock.now
        let stream = try await client.start(method)
        await client.readUntilClosed()
        #expect(client.answerSoFar(to: stream).data.isEmpty)
        let allowed = .milliseconds(600)..<Duration.seconds(Limits.unreadResponseSecondsMax)
        #expect(allowed.contains(ContinuousClock.now - begun))
      }
      #expect(try await watcher.call(healthCheck).code == 0)
      #expect(!watcher.answerSoFar(to: watched).isEnded)
    }
  }

  /// The time counts from the request's beginning, not from its end.
  @Test func timeSpentOnSendingCounts() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let stream = try await client.open(healthCheck, [("grpc-timeout", "200m")])
      // Once this is answered, that has begun.
      #expect(try await client.call(healthCheck).code == 0)
      try await Task.sleep(for: .milliseconds(400))
      try await client.send([0, 0, 0, 0, 0], on: stream, end: true)
      #expect(try await client.answer(to: stream).code == 4)
    }
  }

  @Test func requestThatNeverEndsIsAnsweredWhenItsTimeIsUp() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let stream = try await client.open(healthCheck, [("grpc-timeout", "1S")])
      try await client.send([0, 0, 0, 0, 9, 1], on: stream)
      #expect(try await client.answer(to: stream).code == 4)
      #expect(try await client.call(healthCheck).code == 0)
    }
  }

  /// Requests that wait for their end hold a bounded memory, and give it back.
  @Test func unfinishedRequestsAreBounded() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let message = GRPCMessageDecoder.encode(
        [UInt8](repeating: 0, count: Limits.frameBytesMax), compression: .gzip)
      for round in 0..<3 {
        var streams: [HTTP2StreamID] = []
        for _ in 0..<12 {
          streams.append(try await client.open(healthCheck, [("grpc-encoding", "gzip")]))
          try await client.send(message, on: streams.last!)
        }
        #expect(try await client.call(healthCheck).code == 0)
        let refused = streams.filter { client.answerSoFar(to: $0).isEnded }
        #expect(refused.count == 4, "round \(round)")
        for stream in refused { #expect(try client.answerSoFar(to: stream).error().reason == .overloaded) }
        for stream in streams where !refused.contains(stream) { try await client.reset(stream) }
        #expect(try await client.call(healthCheck).code == 0)
      }
    }
  }
}
