import Core
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

/// What waits for a connection is bounded, and answered whatever happens.
@Suite(.timeLimit(.minutes(5))) struct QueueTests {
  private typealias Batches = Calls<[Outcome]>

  /// A thousand times the same interaction: long in the queue, one row in the database.
  private static func repeats(_ change: (inout InteractionContent) -> Void = { _ in }) -> [Interaction] {
    Array(repeating: .sample(change), count: Limits.batchInteractionsMax)
  }

  /// Runs `body` while the writers are held up in the database, with nothing in the recorder's queue.
  private func withWritersHeldUp(
    _ body: (PostgresStore, TestDatabase, _ unlock: () throws -> Void) async throws -> Void
  ) async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let session = try database.session()
      let first = try await session.holdUpWriters(of: store)
      try await body(store, database) { try session.unlock() }
      for record in first { _ = try await record.all()[0].get().get() }
    }
  }

  /// Waits for as many refusals; the calls without answer then wait in the queue.
  private func queued(_ calls: Batches, refused: Int) async throws -> [Int] {
    try await eventually("\(refused) calls are refused") { calls.answers.count >= refused }
    for answer in calls.answers.values {
      guard case .failure(let error) = answer else {
        Issue.record("\(answer) while the table is locked")
        continue
      }
      #expect(error.code == .resourceExhausted)
      #expect(error.reason == .overloaded)
      #expect(error.retryAfter != nil)
    }
    #expect(calls.answers.count == refused)
    return calls.unanswered
  }

  private func expectRecorded(_ answer: Result<[Outcome], RPCError>, _ batch: [Interaction]) throws {
    #expect(try answer.get() == [.new(batch[0])] + batch.dropFirst().map(Outcome.already))
  }

  @Test func boundsTheInteractionsThatWait() async throws {
    let batches = (0..<70).map { _ in Self.repeats() }
    let fits = Limits.recordQueueInteractionsPerTenantMax / Limits.batchInteractionsMax
    try await withWritersHeldUp { store, database, unlock in
      let calls = Batches(batches.count) { call throws(RPCError) in try await store.record(batches[call], for: .a) }
      let queued = try await queued(calls, refused: batches.count - fits)
      try unlock()
      let answers = await calls.all()
      for call in queued { try expectRecorded(answers[call], batches[call]) }
      // Nothing of a refused call was done, and there is room again.
      for call in batches.indices where !queued.contains(call) {
        #expect(try await store.interaction(batches[call][0].id, of: .a) == nil)
      }
      try expectRecorded(.success(try await store.record(batches[0].reversed(), for: .b)), batches[0])
    }
  }

  @Test func boundsTheBytesThatWait() async throws {
    let text = String(repeating: "x", count: Limits.customerMessageBytesMax)
    let batches = (0..<4).map { _ in
      let first = Interaction.sample { ($0.customerMessage, $0.agentResponse) = (text, text) }
      return [first] + Array(repeating: first.with { $0.contextSize += 1 }, count: 999)
    }
    let fits = Limits.recordQueueBytesPerTenantMax / batches[0].reduce(0) { $0 + $1.bytes }
    #expect(fits < batches.count)
    try await withWritersHeldUp { store, _, unlock in
      let calls = Batches(batches.count) { call throws(RPCError) in try await store.record(batches[call], for: .a) }
      let queued = try await queued(calls, refused: batches.count - fits)
      try unlock()
      let answers = await calls.all()
      for call in queued {
        let outcomes = try answers[call].get()
        #expect(outcomes[0] == .new(batches[call][0]))
        #expect(outcomes.count { $0.reason == .interactionConflict } == 999)
      }
    }
  }

  @Test func writesNothingOfACallCancelledInTheQueue() async throws {
    let batches = (0..<70).map { _ in Self.repeats() }
    let fits = Limits.recordQueueInteractionsPerTenantMax / Limits.batchInteractionsMax
    try await withWritersHeldUp { store, database, unlock in
      let calls = Batches(batches.count) { call throws(RPCError) in try await store.record(batches[call], for: .a) }
      let queued = try await queued(calls, refused: batches.count - fits)
      let cancelled = queued.dropFirst(2)
      for call in cancelled { calls.cancel(call) }
      // Answered at once, not when their turn comes.
      try await eventually("the cancelled are answered") { calls.unanswered.count == 2 }
      // Their room is free again: the same number fits once more.
      let more = (0..<cancelled.count).map { _ in Self.repeats() }
      let next = Batches(more.count) { call throws(RPCError) in try await store.record(more[call], for: .a) }
      try unlock()
      let answers = await calls.all()
      for call in cancelled { #expect(throws: RPCError.cancelled) { try answers[call].get() } }
      for call in queued.prefix(2) { try expectRecorded(answers[call], batches[call]) }
      for (batch, answer) in zip(more, await next.all()) { try expectRecorded(answer, batch) }
      for call in cancelled {
        #expect(try await store.interaction(batches[call][0].id, of: .a) == nil)
      }
      // The one of the warm-up, the one that was held up, the two left, and those that took the room.
      #expect(try database.rowCount() == 5 + more.count)
    }
  }

  @Test func writesWhatWaitsWhenClosedAndTakesNoMore() async throws {
    let batches = (0..<70).map { _ in Self.repeats() }
    let fits = Limits.recordQueueInteractionsPerTenantMax / Limits.batchInteractionsMax
    try await withWritersHeldUp { store, database, unlock in
      let calls = Batches(batches.count) { call throws(RPCError) in try await store.record(batches[call], for: .a) }
      let queued = try await queued(calls, refused: batches.count - fits)
      store.close()
      let late = Interaction.sample()
      await #expect(throws: RPCError.draining) { try await store.record(late) }
      try unlock()
      let answers = await calls.all()
      for call in queued { try expectRecorded(answers[call], batches[call]) }
      await #expect(throws: RPCError.draining) { try await store.record(late) }
      #expect(try database.rowCount("id = '\(late.id)'") == 0)
    }
  }

  @Test func writesWhatWaitsWhenItsTaskIsCancelled() async throws {
    try await TestDatabase.with { database in
      let store = PostgresStore(database.patient(), logger: .silent)
      let running = Task { await store.run() }
      try await database.warmUp(store)
      let session = try database.session()
      let first = try await session.holdUpWriters(of: store)
      let interactions = (0..<10).map { _ in Interaction.sample() }
      let calls = Calls(interactions.count) { call throws(RPCError) in
        try await store.record(interactions[call]).get()
      }
      try await eventually("they wait") { store.recorder.waitingCount == interactions.count }
      running.cancel()
      await #expect(throws: RPCError.draining) { try await store.record(.sample()) }
      try session.unlock()
      for (interaction, answer) in zip(interactions, await calls.all()) {
        #expect(try answer.get() == Recorded(id: interaction.id, alreadyRecorded: false))
      }
      for record in first { _ = try await record.all()[0].get().get() }
      await running.value
    }
  }

  @Test func boundsTheCallsThatWaitForTheirTenantsNumber() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let session = try database.session()
      try session.sql("BEGIN; LOCK TABLE parley.tenants IN ACCESS EXCLUSIVE MODE")
      let interactions = (0..<Limits.tenantLookupsWaitingMax + 3).map { _ in Interaction.sample() }
      let calls = Calls(interactions.count) { call throws(RPCError) in
        try await store.record([interactions[call]], for: .b)[0].get()
      }
      try await eventually("three are refused") { calls.answers.count >= 3 }
      expectOverloaded(calls)
      #expect(calls.unanswered.count == Limits.tenantLookupsWaitingMax)
      try session.unlock()
      let answers = await calls.all()
      #expect(answers.count { (try? $0.get()) != nil } == Limits.tenantLookupsWaitingMax)
    }
  }

  /// Every response there is yet says to come again later.
  private func expectOverloaded(_ calls: Calls<some Any>) {
    for answer in calls.answers.values {
      guard case .failure(let error) = answer else {
        Issue.record("\(answer) while the table is locked")
        continue
      }
      #expect(error.code == .resourceExhausted)
      #expect(error.retryAfter != nil)
    }
  }

  @Test func boundsTheReadsThatWait() async throws {
    try await TestDatabase.with { database in
      try await database.withStore(database.patient(.oneReader)) { store in
        try await database.warmUp(store)
        let interaction = Interaction.sample()
        _ = try await store.record(interaction)
        let session = try database.session()
        try session.lockInteractions(against: .everybody)
        let first = Calls(1) { _ throws(RPCError) in try await store.interaction(interaction.id, of: .a) }
        try await eventually("the reader waits") { try session.waitsForLock(.reader) }
        let calls = Calls(Limits.readsWaitingPerTenantMax + 3) { _ throws(RPCError) in
          try await store.interaction(interaction.id, of: .a)
        }
        try await eventually("three are refused") { calls.answers.count >= 3 }
        expectOverloaded(calls)
        // Of those that wait, all but a few give up, and are answered before any connection is free.
        let waiting = calls.unanswered
        #expect(waiting.count == Limits.readsWaitingPerTenantMax)
        for call in waiting.dropFirst(10) { calls.cancel(call) }
        try await eventually("the cancelled are answered") { calls.unanswered.count == 10 }
        for call in waiting.dropFirst(10) {
          #expect(throws: RPCError.cancelled) { try calls.answers[call]?.get() }
        }
        try session.unlock()
        #expect(try await first.all()[0].get()?.id == interaction.id)
        let answers = await calls.all()
        for call in waiting.prefix(10) { #expect(try answers[call].get()?.id == interaction.id) }
      }
    }
  }
}
