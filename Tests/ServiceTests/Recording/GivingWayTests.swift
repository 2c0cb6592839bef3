import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// For how long a tenant that records alone leaves the database to others' reads.
@Suite struct GivingWayTests {
  private let written = [
    BatchWriter.Outcome.told(.success(Recorded(id: Interaction.sample().id, alreadyRecorded: false)))
  ]

  private func time(_ outcomes: [BatchWriter.Outcome], batch: Int, reads: Int) -> Duration? {
    Recorder.timeToGiveWay(after: outcomes, thatTook: .milliseconds(batch), readTime: .milliseconds(reads))
  }

  @Test func isTheTimeOfTheReadsButNoLongerThanTheBatchNorThanTheBound() {
    #expect(time(written, batch: 12, reads: 5) == .milliseconds(5))
    #expect(time(written, batch: 12, reads: 60) == .milliseconds(12))
    #expect(time(written, batch: 30_000, reads: 60_000) == .milliseconds(Limits.recordGivingWayMillisecondsMax))
    #expect(time(written, batch: 12, reads: 0) == .zero)
  }

  @Test func isNoneAfterABatchThatTheDatabaseCouldNotWrite() {
    let failed = BatchWriter.Outcome.failed(WriteFailure(RPCError.databaseUnavailable(cause: "")))
    #expect(time([failed], batch: 12, reads: 60) == nil)
    #expect(time([failed] + written, batch: 12, reads: 60) == .milliseconds(12))
  }

  @Test func isOfATenantWhoseRowsAreTheWholeBatch() {
    func rows(_ keys: [Int32]) -> [RecordRow] {
      keys.map { RecordRow(.sample(), tenant: NumberedTenant(key: TenantKey(rawValue: $0), name: .a)) }
    }
    #expect(Recorder.onlyTenant(of: rows([7]))?.key == TenantKey(rawValue: 7))
    #expect(Recorder.onlyTenant(of: rows([7, 7, 7]))?.name == .a)
    #expect(Recorder.onlyTenant(of: rows([7, 7, 8])) == nil)
    #expect(Recorder.onlyTenant(of: []) == nil)
  }

  /// The reads that ended while the batch was written count, and no others.
  @Test func countsTheReadsOfOthersDuringTheBatch() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let interaction = Interaction.sample()
      _ = try await store.record(interaction, for: .b).get()
      let session = try database.session()
      let batches = try await session.holdUpWriters(of: store)
      _ = store.readers.readTime(besides: .a)
      _ = try await store.interaction(interaction.id, of: .b)
      #expect(store.readers.readTime(besides: .a) > .zero)
      try session.unlock()
      for batch in batches { _ = try await batch.all()[0].get().get() }
    }
  }
}
