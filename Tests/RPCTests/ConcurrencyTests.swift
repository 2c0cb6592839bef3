import Core
import Messages
import TestSupport
import Testing

/// Many calls at once: on one connection and on many.
@Suite(.timeLimit(.minutes(5)))
struct ConcurrencyTests {
  @Test func slowCallIsOvertakenByFastOnes() async throws {
    try await TestServer.with { server in
      let id = try await server.record()
      let lock = try TableLock(against: .writes, in: server.database)
      let peer = try server.connect()
      let slow = try await peer.start(RecordInteraction.method, RecordInteraction(interaction: .sample()), server.token)
      try await eventually("the slow call waits") { try server.database.waitingStatements(of: "owner") == 1 }
      let fast = (0..<100).map { _ in peer.makeFrame(GetInteraction.method, GetInteraction(id: "\(id)"), server.token) }
      try await peer.send(fast.flatMap(\.bytes))
      var answered: Set<UInt32> = []
      for _ in fast {
        let (stream, reply) = try await peer.nextReply()
        #expect(try Interaction(encoded: reply.get()).id == id)
        answered.insert(stream)
      }
      #expect(answered == Set(fast.map(\.stream)))
      try lock.release()
      let (last, reply) = try await peer.nextReply()
      #expect(last == slow && reply.error == nil)
    }
  }

  @Test func moreCallsThanMayBeInFlightTakeTheirTurn() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      let peer = try server.connect()
      let count = 2 * Limits.callsInFlightPerConnectionMax
      let request = GetInteraction(id: "\(InteractionID(at: .now))")
      let frames = (0..<count).map { _ in peer.makeFrame(GetInteraction.method, request, server.token) }
      // The server reads no further than it may: the rest is sent while answers come.
      var rest = frames.flatMap(\.bytes)[...]
      rest = rest.dropFirst(try peer.sendSome(rest))
      // Gets share the statements that they may fill.
      try await eventually("the gets wait") { try server.database.waitingStatements() == 2 }
      try lock.release()
      var answered: Set<UInt32> = []
      while answered.count < count {
        if !rest.isEmpty { rest = rest.dropFirst(try peer.sendSome(rest)) }
        let (stream, reply) = try await peer.nextReply()
        try #require(reply.error?.code == .notFound)
        try #require(answered.insert(stream).inserted)
      }
      #expect(answered == Set(frames.map(\.stream)))
    }
  }

  @Test func everyAnswerIsItsOwnCalls() async throws {
    try await TestServer.with { server in
      let ids = (0..<200).map { InteractionID(at: .now + Int64($0)) }
      let drafts = ids.map { id in
        var draft = InteractionDraft.sample(at: id.time)
        draft.id = id.description
        draft.content.customerMessage = "this is \(id)"
        return Result<InteractionDraft, RPCError>.success(draft)
      }
      let results: [Result<Recorded, RPCError>] = try await server.connect()
        .answer(RecordInteractions.method, RecordInteractions(interactions: drafts), server.token)
      #expect(try results.map { try $0.get().id } == ids)

      let chance = SeededGenerator()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<64 {
          group.addTask {
            var chance = SeededGenerator(seed: chance.seed &+ UInt64(number))
            let peer = try RawConnection(to: number % 2 == 0 ? server.unix : server.tcp)
            var asked: [UInt32: InteractionID] = [:]
            var bytes: [UInt8] = []
            for _ in 0..<25 {
              let id = ids.randomElement(using: &chance)!
              let frame = peer.makeFrame(GetInteraction.method, GetInteraction(id: "\(id)"), server.token)
              asked[frame.stream] = id
              bytes += frame.bytes
            }
            try await peer.send(bytes)
            while !asked.isEmpty {
              let (stream, reply) = try await peer.nextReply()
              let own = asked.removeValue(forKey: stream)
              let id = try #require(own, "seed \(chance.seed)")
              let interaction = try Interaction(encoded: reply.get())
              #expect(interaction.id == id && interaction.content.customerMessage == "this is \(id)")
            }
          }
        }
        try await group.waitForAll()
      }
    }
  }

  /// Records of many connections at once: each is there exactly once afterwards.
  @Test func recordsOfManyConnectionsAreAllKept() async throws {
    try await TestServer.with { server in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<32 {
          group.addTask {
            let peer = try server.connect()
            for _ in 0..<10 {
              try await peer.start(RecordInteraction.method, RecordInteraction(interaction: .sample()), server.token)
            }
            for _ in 0..<10 { #expect(try await peer.nextReply().reply.error == nil) }
          }
        }
        try await group.waitForAll()
      }
      #expect(try server.interactionCount() == 320)
      let stats: StatsReport = try await server.connect().answer(GetStats.method, GetStats(), server.token)
      #expect(stats.totals.totalInteractions == 320)
    }
  }
}
