import Core
import Messages
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(5)))
struct DeadlineTests {
  @Test(arguments: [Int64.min, -1_000_000_000, -1, 1])
  func callWithoutTimeFailsAtOnce(nanoseconds: Int64) async throws {
    try await TestServer.with { server in
      let peer = try server.connect()
      try await peer.expectService(as: server.token)
      let begun = ContinuousClock.now
      let reply = try await peer.reply(
        RecordInteraction.method, RecordInteraction(interaction: .sample()), server.token,
        timeout: .nanoseconds(nanoseconds))
      #expect(reply.error?.code == .deadlineExceeded && reply.error?.reason == .deadlineExceeded)
      #expect(ContinuousClock.now - begun < .seconds(Limits.callSecondsMax))
      if nanoseconds < 0 { #expect(try server.interactionCount() == 0) }
    }
  }

  @Test func deadlineCancelsTheStatementInPostgreSQL() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      let peer = try server.connect()
      // A busy machine may need longer to come to PostgreSQL at all.
      var timeout = Duration.milliseconds(300)
      var hasWaited = false
      while !hasWaited, timeout < .seconds(20) {
        let begun = ContinuousClock.now
        try await peer.start(GetStats.method, GetStats(), server.token, timeout: timeout)
        try await peer.start(ListInteractions.method, ListInteractions(), server.token, timeout: timeout)
        while !hasWaited, .now < begun + timeout {
          hasWaited = try server.database.waitingStatements() == 2
          try await Task.sleep(for: .milliseconds(5))
        }
        for _ in 0..<2 {
          #expect(try await peer.nextReply(within: timeout + .seconds(60)).reply.error?.code == .deadlineExceeded)
          #expect(ContinuousClock.now - begun >= timeout)
        }
        try await eventually("the statements are cancelled") { try server.database.waitingStatements() == 0 }
        timeout = timeout * 3
      }
      #expect(hasWaited)
      try lock.release()
      try await peer.expectService(as: server.token)
    }
  }

  @Test func callsThatWaitForAReaderObeyTheirDeadlinesToo() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      let peer = try server.connect()
      for _ in 0..<4 { try await peer.start(GetStats.method, GetStats(), server.token) }
      // One of them, past the time of reads that end soon, has the connection for such; the others wait for it.
      try await eventually("a reader waits") { try server.database.waitingStatements() == 1 }
      let begun = ContinuousClock.now
      try await peer.start(GetStats.method, GetStats(), server.token, timeout: .milliseconds(600))
      #expect(try await peer.nextReply().reply.error?.code == .deadlineExceeded)
      #expect(ContinuousClock.now - begun < .seconds(Limits.callSecondsMax))
      try lock.release()
      for _ in 0..<4 { #expect(try await peer.nextReply().reply.error == nil) }
    }
  }

  @Test func recordPastItsDeadlineIsFoundByARetry() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .writes, in: server.database)
      let peer = try server.connect()
      let id = InteractionID(at: .now)
      var draft = InteractionDraft.sample(at: id.time)
      draft.id = id.description
      let request = RecordInteraction(interaction: draft)
      try await peer.start(RecordInteraction.method, request, server.token, timeout: .seconds(10))
      try await eventually("the row waits") { try server.database.waitingStatements(of: "owner") == 1 }
      let error = try #require(try await peer.nextReply().reply.error)
      #expect(error.code == .deadlineExceeded && error.message.contains("same id"))
      try lock.release()
      let recorded: Recorded = try await peer.answer(RecordInteraction.method, request, server.token)
      #expect(recorded.id == id && recorded.alreadyRecorded)
      #expect(try server.interactionCount() == 2)
    }
  }

  /// A record that still waits in the queue when its time is up is not written at all.
  @Test func recordWhoseTimeIsUpInTheQueueIsNotWritten() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .writes, in: server.database)
      let peer = try server.connect()
      let request = RecordInteraction(interaction: .sample())
      // One for each writer.
      var written: Set<UInt32> = []
      for count in 1...2 {
        written.insert(try await peer.start(RecordInteraction.method, request, server.token))
        try await eventually("\(count) rows wait") { try server.database.waitingStatements(of: "owner") == count }
      }
      let reply = try await peer.reply(RecordInteraction.method, request, server.token, timeout: .milliseconds(200))
      #expect(reply.error?.code == .deadlineExceeded)
      try lock.release()
      for _ in 1...2 {
        let (answered, late) = try await peer.nextReply()
        #expect(written.remove(answered) != nil && late.error == nil)
      }
      try await peer.expectService(as: server.token)
      #expect(try server.interactionCount() == 3)
    }
  }
}
