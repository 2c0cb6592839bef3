import Core
import RPC
import Service
import TestSupport
import Testing

private let now = Timestamp.ofGate

@Suite struct StatisticsServiceTests {
  /// Two times in one millisecond, as finer clocks tell them.
  @Test func rangeWithinAMillisecondIsEmpty() async throws {
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (now, now)
    #expect(try await answered(GetStats(filter: filter, interval: .hour)) == StatsReport(start: now, end: now))
  }

  @Test func otherRangesAreAnsweredAsTheStoreAnswers() async throws {
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (now, now + 1)
    #expect(try await answered(GetStats(filter: filter)) == .ofStore)
  }

  private func answered(_ request: GetStats) async throws -> StatsReport {
    let admitted = try admit(request)
    return try await withCompletion { StatisticsService(store: FakeStore()).stats(admitted, $0) }
  }
}

extension StatsReport {
  fileprivate static let ofStore = StatsReport(start: now - 7, end: now + 7)
}

private struct FakeStore: StatisticsStore {
  func stats(_ query: GetStats.Checked, of tenant: Tenant, _ completion: Completion<StatsReport>) -> Cancellation {
    completion.complete(.success(.ofStore))
    return {}
  }
}
