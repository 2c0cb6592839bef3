import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// Gets that wait together share a statement, and each is answered as if it had been alone.
@Suite(.timeLimit(.minutes(5))) struct LookupTests {
  @Test func getsOfManyTenantsAtOnceFindTheirOwn() async throws {
    try await TestDatabase.withStore { store, _ in
      let tenants = (0..<5).map { Tenant("tenant-\($0)")! }
      // The same ids for each tenant, with contents of their own.
      let interactions = (0..<40).map { _ in Interaction.sample() }
      for (place, tenant) in tenants.enumerated() {
        let own = interactions.map { interaction in
          interaction.with { $0.contextSize = Int32(place) }
        }
        _ = try await store.record(own.filter { $0.id.low % 5 != UInt64(place) }, for: tenant).map { try $0.get() }
      }
      let calls = Calls(2000) { call throws(RPCError) in
        try await store.interaction(interactions[call / 5 % 40].id, of: tenants[call % 5])
      }
      for (call, answer) in await calls.all().enumerated() {
        let (id, place) = (interactions[call / 5 % 40].id, call % 5)
        let found = try answer.get()
        #expect(found?.id == (id.low % 5 == UInt64(place) ? nil : id))
        #expect(found == nil || found?.content.contextSize == Int32(place))
      }
    }
  }

  /// Of a month that somebody has locked.
  @Test(.notDistributed(.partitionsOfRows)) func thoseThatWaitForALockKeepNoOtherTenantWaiting() async throws {
    let (old, new) = (Interaction.sample(at: Timestamp("2001-09-09T01:46:40.000Z")), Interaction.sample())
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      _ = try await store.record(old, for: .a).get()
      _ = try await store.record(new, for: .b).get()
      let session = try database.session()
      try session.sql("BEGIN; LOCK TABLE parley.interactions_early IN ACCESS EXCLUSIVE MODE")
      let locked = (0..<8).map { _ in Calls(1) { _ throws(RPCError) in try await store.interaction(old.id, of: .a) } }
      try await eventually("they wait") { try session.waitsForLock(.reader) }
      for _ in 0..<20 { #expect(try await store.interaction(new.id, of: .b)?.id == new.id) }
      #expect(locked.allSatisfy { $0.answers.isEmpty })
      try session.unlock()
      for call in locked { #expect(try await call.all()[0].get()?.id == old.id) }
    }
  }

  @Test func cancellingOneOfThoseThatShareAStatementLeavesTheOthers() async throws {
    try await TestDatabase.with { database in
      try await database.withStore(database.patient(.oneReader)) { store in
        try await database.warmUp(store)
        let interaction = Interaction.sample()
        _ = try await store.record(interaction)
        _ = try await store.interaction(interaction.id, of: .a)
        let session = try database.session()
        try session.lockInteractions(against: .everybody)
        let first = Calls(1) { _ throws(RPCError) in try await store.interaction(interaction.id, of: .a) }
        try await eventually("the first waits in the database") { try session.waitsForLock(.reader) }
        // These come together behind it.
        let calls = Calls(10) { _ throws(RPCError) in try await store.interaction(interaction.id, of: .a) }
        try await eventually("the ten wait for the first") { store.lookup.waitingCount == 10 }
        first.cancel(0)
        let cancelled = await first.all()[0]
        #expect(throws: RPCError.cancelled) { try cancelled.get() }
        try await eventually("the ten wait in the database") { try session.waitsForLock(.reader) }
        calls.cancel(3)
        #expect(try session.waitsForLock(.reader))
        try session.unlock()
        for (call, answer) in await calls.all().enumerated() where call != 3 {
          #expect(try answer.get()?.id == interaction.id)
        }
      }
    }
  }
}
