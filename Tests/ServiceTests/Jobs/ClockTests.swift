import Core
import TestSupport
import Testing

@testable import Service

/// `updated_at` is PostgreSQL's to tell, whichever way a row goes in.
@Suite(.timeLimit(.minutes(5))) struct ClockTests {
  /// Few rows are inserted, many are copied.
  @Test(arguments: [1, 10, 200]) func theServerNamesNoTime(count: Int) async throws {
    try await TestDatabase.withStore { store, database in
      try database.sql("ALTER TABLE parley.interactions ALTER updated_at SET DEFAULT '2001-02-03 04:05:06Z'")
      let batch = (0..<count).map { _ in Interaction.sample() }
      #expect(try await store.record(batch, for: .a) == batch.map(Outcome.new))
      #expect(try database.rowCount("updated_at = '2001-02-03 04:05:06Z'") == count)
    }
  }

  @Test(arguments: [10, 200]) func theRowsOfOneTransactionHaveOneTime(count: Int) async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let before = try database.sql("SELECT clock_timestamp()")[0][0]
      let batch = (0..<count).map { _ in Interaction.sample() }
      #expect(try await store.record(batch, for: .a) == batch.map(Outcome.new))
      let times = try database.sql(
        "SELECT DISTINCT updated_at FROM parley.interactions WHERE updated_at BETWEEN '\(before)' AND clock_timestamp()"
      )
      #expect(times.count == 1)
    }
  }
}
