import Core
import Histogram

/// What became of the calls so far.
struct Tally {
  struct Failure {
    var count = 0
    /// The first one's message.
    var example: String
  }

  /// In nanoseconds, of the calls that were answered well.
  private(set) var latencies = BenchOperation.allCases.map { _ in
    Histogram<UInt64>(highestTrackableValue: 3_600_000_000_000, numberOfSignificantValueDigits: .three)
  }
  private(set) var records = BenchOperation.allCases.map { _ in 0 }
  private(set) var failures: [String: Failure] = [:]
  private(set) var calls = 0
  private(set) var failureCount = 0

  mutating func add(_ operation: BenchOperation, nanoseconds: Int64, records count: Int) {
    latencies[operation.rawValue].record(UInt64(max(nanoseconds, 1)))
    records[operation.rawValue] += count
    calls += 1
  }

  mutating func fail(_ code: String, _ message: String, count: Int = 1) {
    failureCount += count
    failures[code, default: Failure(example: message)].count += count
  }

  mutating func fail(_ error: RPCError, count: Int = 1) {
    fail(error.code.name, error.message, count: count)
  }

  /// Of all operations together.
  var allLatencies: Histogram<UInt64> {
    var all = latencies[0]
    for other in latencies.dropFirst() { all.add(other) }
    return all
  }
}
