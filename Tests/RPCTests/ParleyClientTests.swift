import Core
import Messages
import ParleyClient
import Synchronization
import TestSupport
import Testing

/// The Swift client against the real server.
@Suite(.timeLimit(.minutes(5)))
struct ParleyClientTests {
  private func client(
    _ address: Address, _ token: String, connections: Int = 1, timeout: Duration = .seconds(30)
  ) -> ParleyClient {
    ParleyClient(
      .init(address: address, connections: connections, timeout: timeout) { () throws(RPCError) in token })
  }

  /// Runs `body` and closes the client.
  private func using(_ client: ParleyClient, _ body: (ParleyClient) async throws -> Void) async throws {
    do {
      try await body(client)
      await client.close()
    } catch {
      await client.close()
      throw error
    }
  }

  private func error<R>(_ body: () async throws(RPCError) -> R) async -> RPCError? {
    do throws(RPCError) {
      _ = try await body()
      return nil
    } catch {
      return error
    }
  }

  @Test func allMethodsWorkOverBothTransports() async throws {
    try await TestServer.with { server in
      for (number, address) in [server.unix, server.tcp].enumerated() {
        try await using(client(address, server.token)) { client in
          let recorded = try await client.record(.sample())
          #expect(!recorded.alreadyRecorded)
          let interaction = try await client.get("\(recorded.id)")
          #expect(interaction.content.customerMessage == InteractionDraft.sample().content.customerMessage)
          #expect(try await client.record(InteractionDraft(interaction)).alreadyRecorded)
          let results = try await client.record([.sample(), InteractionDraft()])
          #expect(results.map { $0.error?.code } == [nil, .invalidArgument])
          let page = try await client.list(ListInteractions(pageSize: 1))
          #expect(page.interactions.count == 1 && !page.nextPageToken.isEmpty)
          let stats = try await client.stats(GetStats())
          #expect(stats.totals.totalInteractions == Int64(2 * (number + 1)))
        }
      }
    }
  }

  @Test func requestIDMakesARetryFindItself() async throws {
    try await TestServer.with { server in
      try await using(client(server.unix, server.token)) { client in
        let draft = InteractionDraft.sample()
        let first = try await client.record(draft, requestID: "order 7")
        let again = try await client.record(draft, requestID: "order 7")
        #expect(again == Recorded(id: first.id, alreadyRecorded: true))
      }
    }
  }

  @Test func errorsCarryTheirDetails() async throws {
    try await TestServer.with { server in
      try await using(client(server.unix, server.token)) { client in
        var wrong = InteractionDraft.sample()
        wrong.content.conversationID = ""
        wrong.content.messageType = "NO"
        let invalid = try #require(await error { () throws(RPCError) in try await client.record(wrong) })
        #expect(invalid.code == .invalidArgument && invalid.reason == .fieldInvalid)
        #expect(
          invalid.violations.map(\.field) == ["interaction.conversation_id", "interaction.message_type"])
        #expect(invalid.violations.allSatisfy { !$0.description.isEmpty })
      }
      let reader = try await signedToken(of: "acme", scope: "analytics:view")
      try await using(client(server.unix, reader)) { client in
        let denied = try #require(await error { () throws(RPCError) in try await client.record(.sample()) })
        #expect(denied.code == .permissionDenied && denied.metadata["scope"] == "interactions:record")
      }
    }
  }

  @Test func manyCallsAtOnceEachGetTheirOwnAnswer() async throws {
    try await TestServer.with { server in
      try await using(client(server.tcp, server.token, connections: 3)) { client in
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<300 {
            group.addTask {
              var draft = InteractionDraft.sample()
              draft.content.customerMessage = "number \(number)"
              let recorded = try await client.record(draft)
              let interaction = try await client.get("\(recorded.id)")
              #expect(interaction.content.customerMessage == "number \(number)")
            }
          }
          try await group.waitForAll()
        }
      }
      #expect(try server.interactionCount() == 300)
    }
  }

  @Test func callsShareThePoolsConnections() async throws {
    try await TestServer.with { server in
      guard case .unix(let path) = server.unix else { return }
      let relay = try await LosingRelay(at: "\(path).relay", to: path, losing: 0)
      try await using(client(relay.address, server.token, connections: 3)) { client in
        for _ in 0..<30 { _ = try await client.stats(GetStats()) }
        #expect(relay.accepted == 3)
        try await withThrowingTaskGroup(of: Void.self) { group in
          for _ in 0..<30 { group.addTask { _ = try await client.stats(GetStats()) } }
          try await group.waitForAll()
        }
        #expect(relay.accepted == 3)
      }
      try await relay.close()
    }
  }

  // MARK: Servers that come and go

  @Test func callsGoOnAfterTheServerWasRestarted() async throws {
    try await TestServer.with { server in
      guard case .unix(let path) = server.unix else { return }
      let address = Address.unix(path: "\(path).2")
      try await using(client(address, server.token, connections: 2)) { client in
        for _ in 0..<3 {
          let running = try await RunningServer.start([address], store: server.store)
          for _ in 0..<4 { _ = try await client.record(.sample()) }
          try await running.stop()
        }
      }
      #expect(try server.interactionCount() == 12)
    }
  }

  @Test func callWaitsForAServerThatIsYetToCome() async throws {
    try await TestServer.with { server in
      guard case .unix(let path) = server.unix else { return }
      let address = Address.unix(path: "\(path).2")
      try await using(client(address, server.token)) { client in
        async let recorded = client.record(.sample())
        try await Task.sleep(for: .milliseconds(200))
        let running = try await RunningServer.start([address], store: server.store)
        #expect(try await !recorded.alreadyRecorded)
        try await running.stop()
      }
    }
  }

  @Test func retriesEndWithTheTimeout() async throws {
    try await withFolder { folder in
      try await using(client(.unix(path: "\(folder)/none"), "token", timeout: .milliseconds(600))) { client in
        let begun = ContinuousClock.now
        let error = try #require(await error { () throws(RPCError) in try await client.stats(GetStats()) })
        #expect(error.code == .unavailable || error.code == .deadlineExceeded)
        #expect(ContinuousClock.now - begun >= .milliseconds(100))
      }
    }
  }

  /// Answers are lost after the server has committed: every retry finds its first try.
  @Test func recordsAreKeptOnceThoughAnswersAreLost() async throws {
    try await TestServer.with { server in
      guard case .unix(let path) = server.unix else { return }
      let relay = try await LosingRelay(at: "\(path).relay", to: path, losing: 6)
      try await using(client(relay.address, server.token, connections: 2)) { client in
        let first = try await client.record(.sample())
        #expect(first.alreadyRecorded, "the first answer was to be lost")
        try await withThrowingTaskGroup(of: InteractionID.self) { group in
          for number in 0..<60 {
            group.addTask {
              if number % 2 == 0 { return try await client.record(.sample()).id }
              return try await client.record([.sample()])[0].get().id
            }
          }
          var ids: Set<InteractionID> = [first.id]
          for try await id in group { ids.insert(id) }
          #expect(ids.count == 61)
        }
        #expect(relay.accepted > 6)
      }
      #expect(try server.interactionCount() == 61)
      try await relay.close()
    }
  }

  @Test func recordsOutliveTheDatabasesAbsence() async throws {
    try await TestServer.with { server in
      try await using(client(server.unix, server.token)) { client in
        _ = try await client.record(.sample())
        let outage = try await Outage(of: server.database)
        async let recorded = client.record(.sample())
        try await Task.sleep(for: .milliseconds(300))
        try outage.end()
        _ = try await recorded
      }
      #expect(try server.interactionCount() == 2)
    }
  }

  @Test func drainingServerIsTriedAgain() async throws {
    try await TestServer.with { server in
      guard case .unix(let path) = server.unix else { return }
      let address = Address.unix(path: "\(path).2")
      let first = try await RunningServer.start([address], store: server.store)
      try await using(client(address, server.token)) { client in
        _ = try await client.record(.sample())
        let lock = try TableLock(against: .readsAndWrites, in: server.database)
        async let inFlight = client.stats(GetStats())
        try await eventually("the read waits") { try server.database.waitingStatements() == 1 }
        await first.startDraining()
        async let late = client.record(.sample())
        try lock.release()
        _ = try await inFlight
        try await first.ended()
        let second = try await RunningServer.start([address], store: server.store)
        #expect(try await !late.alreadyRecorded)
        try await second.stop()
      }
      #expect(try server.interactionCount() == 2)
    }
  }

  // MARK: Limits of a call

  @Test func callEndsWithItsTimeout() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      try await using(client(server.unix, server.token, timeout: .milliseconds(400))) { client in
        let begun = ContinuousClock.now
        let error = try #require(await error { () throws(RPCError) in try await client.stats(GetStats()) })
        #expect(error.code == .deadlineExceeded && error.reason == .deadlineExceeded)
        #expect(error.message.hasSuffix("nothing was changed: try again"))
        #expect(ContinuousClock.now - begun >= .milliseconds(300))
      }
      try lock.release()
    }
  }

  @Test func timeoutHoldsWhileConnecting() async throws {
    // A listener whose queue is full: the kernel drops further connections' packets.
    let other = try OtherListener(at: .tcp(host: "127.0.0.1", port: 0), backlog: 0)
    let address = Address.tcp(host: "127.0.0.1", port: other.port)
    let queued = try RawConnection(to: address)
    try await using(client(address, "token", timeout: .milliseconds(500))) { client in
      let error = await error { () throws(RPCError) in try await client.stats(GetStats()) }
      #expect(error?.code == .deadlineExceeded)
    }
    queued.close()
  }

  @Test func cancelledCallEndsAtOnce() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      try await using(client(server.unix, server.token)) { client in
        let call = Task { await error { () throws(RPCError) in try await client.stats(GetStats()) } }
        try await eventually("the read waits") { try server.database.waitingStatements() == 1 }
        let begun = ContinuousClock.now
        call.cancel()
        #expect(await call.value?.code == .cancelled)
        #expect(ContinuousClock.now - begun < .seconds(20))
        // The connection is good for others.
        try lock.release()
        _ = try await client.stats(GetStats())
      }
    }
  }

  @Test func callOfACancelledTaskEndsAtOnce() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      try await using(client(server.unix, server.token, timeout: .seconds(25))) { client in
        let begun = ContinuousClock.now
        let call = Task {
          while !Task.isCancelled { await Task.yield() }
          return await error { () throws(RPCError) in try await client.stats(GetStats()) }
        }
        call.cancel()
        #expect(await call.value?.code == .cancelled)
        #expect(ContinuousClock.now - begun < .seconds(20))
      }
      try lock.release()
    }
  }

  @Test func messageTooLargeIsRefusedBeforeItIsSent() async throws {
    try await TestServer.with { server in
      try await using(client(server.unix, server.token)) { client in
        var large = InteractionDraft.sample()
        large.content.customerMessage = String(repeating: "c", count: Limits.customerMessageBytesMax)
        large.content.agentResponse = String(repeating: "a", count: Limits.agentResponseBytesMax)
        let batch = [InteractionDraft](repeating: large, count: 40)
        let refused = try #require(await error { () throws(RPCError) in try await client.record(batch) })
        #expect(refused.code == .resourceExhausted && refused.reason == .messageTooLarge)
        // What fits is taken, on the same connection.
        let results = try await client.record(Array(batch.prefix(30)))
        #expect(results.allSatisfy { $0.error == nil } && results.count == 30)
      }
    }
  }

  @Test func tokenIsAskedBeforeEachTry() async throws {
    try await TestServer.with { server in
      guard case .unix(let path) = server.unix else { return }
      let relay = try await LosingRelay(at: "\(path).relay", to: path, losing: 2)
      let asked = Counter()
      let token = server.token
      let client = ParleyClient(
        .init(address: relay.address) { () throws(RPCError) in
          asked.add()
          return token
        })
      try await using(client) { client in
        _ = try await client.stats(GetStats())
        #expect(asked.value == 3)
      }
      try await relay.close()
    }
  }

  @Test func errorOfTheTokenIsTheCalls() async throws {
    try await withFolder { folder in
      let refusal = RPCError(.unauthenticated, .tokenMissing, "nobody is logged in")
      let client = ParleyClient(.init(address: .unix(path: "\(folder)/none")) { () throws(RPCError) in throw refusal })
      #expect(await error { () throws(RPCError) in try await client.stats(GetStats()) } == refusal)
    }
  }

  @Test func closeFailsTheCallsUnderWay() async throws {
    try await TestServer.with { server in
      try await server.record()
      let lock = try TableLock(against: .readsAndWrites, in: server.database)
      let client = client(server.unix, server.token, timeout: .seconds(25))
      let call = Task { await error { () throws(RPCError) in try await client.stats(GetStats()) } }
      try await eventually("the read waits") { try server.database.waitingStatements() == 1 }
      let begun = ContinuousClock.now
      await client.close()
      #expect(await call.value != nil)
      #expect(ContinuousClock.now - begun < .seconds(20))
      try lock.release()
    }
  }

  /// A server that is none: the call ends with an error, and in time.
  @Test func foreignServerIsAnError() async throws {
    try await TestServer.with { server in
      guard case .unix(let path) = server.unix else { return }
      let other = try OtherListener(at: .unix(path: "\(path).other"))
      try await using(client(.unix(path: "\(path).other"), server.token, timeout: .milliseconds(400))) { client in
        let error = try #require(await error { () throws(RPCError) in try await client.stats(GetStats()) })
        #expect(error.code == .deadlineExceeded)
      }
      other.die()
    }
  }
}

private final class Counter: Sendable {
  private let count = Atomic<Int>(0)

  var value: Int { count.load(ordering: .relaxed) }

  func add() { count.add(1, ordering: .relaxed) }
}
