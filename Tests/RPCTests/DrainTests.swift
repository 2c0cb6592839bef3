import Core
import Glibc
import Messages
import TestSupport
import Testing

/// Graceful shutdown: no new connections and calls, answers to all in flight, then the end.
@Suite(.timeLimit(.minutes(5)))
struct DrainTests {
  @Test func callsInFlightAreAnsweredAndNoOthersTaken() async throws {
    // The reads wait together, however long it takes a busy machine to look at them.
    try await TestServer.with(keyedReadMax: .seconds(600)) { server in
      let id = try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      let connections = [try RawConnection(to: server.unix), try RawConnection(to: server.tcp)]
      var streams: [UInt32] = []
      for peer in connections {
        streams.append(try await peer.start(GetInteraction.method, GetInteraction(id: "\(id)"), server.token))
        // Each alone: gets that come together share a statement.
        try await eventually("the read waits") { try server.database.waitingStatements() == streams.count }
      }
      let recording = try server.connect()
      try await recording.start(RecordInteraction.method, RecordInteraction(interaction: .sample()), server.token)
      try await eventually("the record waits") { try server.database.waitingStatements(of: "owner") == 1 }
      let idle = [try RawConnection(to: server.unix), try RawConnection(to: server.tcp)]
      for peer in idle { try await peer.reply(to: .withoutToken).expectNoToken() }

      await server.running.startDraining()
      for peer in idle { await peer.expectClosed() }
      try await eventually("no connection is taken") {
        [server.unix, server.tcp].allSatisfy { (try? RawConnection(to: $0)) == nil }
      }
      for peer in connections {
        let late = try await peer.start(GetInteraction.method, GetInteraction(id: "\(id)"), server.token)
        let frame = try await peer.nextFrame()
        let answer = try ErrorResponse(frame.data)
        #expect(frame.stream == late && answer.code == 14 && answer.reasons == ["DRAINING"] && answer.hasRetryInfo)
      }
      try lock.release()
      for (peer, stream) in zip(connections, streams) {
        let (answered, reply) = try await peer.nextReply()
        #expect(try answered == stream && Interaction(encoded: reply.get()).id == id)
        await peer.expectClosed()
      }
      #expect(try await recording.nextReply().reply.error == nil)
      await recording.expectClosed()
      try await server.running.ended()
      #expect(try server.interactionCount() == 2)
    }
  }

  @Test func serverWithoutCallsEndsAtOnce() async throws {
    try await withFolder { folder in
      let server = try await RunningServer.start([.unix(path: "\(folder)/s"), .tcp(host: "127.0.0.1", port: 0)])
      let undecided = try RawConnection(to: server.addresses[0])
      let halfWay = try RawConnection(to: server.addresses[1])
      try await halfWay.reply(to: .withoutToken).expectNoToken()
      try await halfWay.send(Array(frame([], stream: 3, length: 100).prefix(7)))
      let begun = ContinuousClock.now
      try await server.stop()
      #expect(ContinuousClock.now - begun < .seconds(Limits.drainSecondsMax - 5))
      await undecided.expectClosed()
      await halfWay.expectClosed()
    }
  }

  /// What was answered reaches a peer that reads slowly: closing does not cut it off.
  @Test func largeAnswersAreSentWhole() async throws {
    try await TestServer.with(keyedReadMax: .seconds(600)) { server in
      try await server.recordLargePage()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      let connections = [try RawConnection(to: server.unix), try RawConnection(to: server.tcp)]
      for peer in connections {
        try await peer.start(ListInteractions.method, ListInteractions(pageSize: 200, view: .full), server.token)
      }
      try await eventually("the reads wait") { try server.database.waitingStatements() == connections.count }
      await server.running.startDraining()
      try lock.release()
      try await eventually("the reads are done") {
        try server.database.sql(
          """
          SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'parley reader'
          AND state <> 'idle'
          """
        ).isEmpty
      }
      for peer in connections {
        let page = try await InteractionPage(encoded: peer.nextReply().reply.get())
        #expect(page.interactions.count > 15)
        await peer.expectClosed()
      }
      try await server.running.ended()
    }
  }

  /// A peer that pipelined more calls than were read when the drain began gets an answer to each it
  /// sent, or sees the connection close: never silence.
  @Test func pipelinedCallsAreAnsweredOrTheConnectionCloses() async throws {
    try await TestServer.with { server in
      try await server.record()
      let peer = try server.connect()
      let frames = (0..<500).map { _ in peer.makeFrame(GetStats.method, GetStats(), server.token) }
      try await peer.send(frames.flatMap(\.bytes))
      #expect(try await peer.nextReply().reply.error == nil)
      await server.running.startDraining()
      var answered = 1
      do {
        while true {
          let error = try await peer.nextReply().reply.error
          #expect(error == nil || error?.reason == .draining)
          answered += 1
        }
      } catch is RawConnection.Closed {}
      #expect(answered <= frames.count)
      try await server.running.ended()
    }
  }
}

extension Call {
  /// One that is answered without the database.
  static var withoutToken: Call {
    Call(service: MethodName.interactionService, method: "GetStats", metadata: .init(), timeout: nil, payload: [])
  }
}

extension Reply {
  func expectNoToken(sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(error?.reason == .tokenMissing, sourceLocation: sourceLocation)
  }
}
