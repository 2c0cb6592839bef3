import Histogram

/// What a run measured so far, for a line on a terminal.
public struct LoadProgress: Sendable {
  public var seconds: Double
  public var calls: Int
  public var records: Int
  public var failures: Int
}

/// What a run measured.
public struct LoadReport: Codable, Sendable {
  /// In microseconds.
  public struct Latency: Codable, Sendable {
    public var p50: Double
    public var p90: Double
    public var p99: Double
    public var p999: Double
    public var max: Double
    public var mean: Double

    init(_ histogram: Histogram<UInt64>) {
      func microseconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds / 10) / 100 }
      p50 = microseconds(histogram.valueAtPercentile(50))
      p90 = microseconds(histogram.valueAtPercentile(90))
      p99 = microseconds(histogram.valueAtPercentile(99))
      p999 = microseconds(histogram.valueAtPercentile(99.9))
      self.max = microseconds(histogram.max)
      mean = histogram.totalCount == 0 ? 0 : (histogram.mean / 10).rounded() / 100
    }
  }

  public struct Part: Codable, Sendable {
    public var calls: Int
    /// Recorded, or in the responses.
    public var records: Int
    public var callsPerSecond: Double
    public var recordsPerSecond: Double
    public var latencyUs: Latency
  }

  public struct Failure: Codable, Sendable {
    public var code: String
    public var count: Int
    /// The message of the first.
    public var example: String
  }

  public var operation = ""
  public var transport = ""
  public var connections = 0
  public var inFlight = 0
  public var batch = 1
  /// Due each second; nil in a closed loop.
  public var rate: Double?
  public var seed: UInt64 = 0
  public var seconds: Double
  public var all: Part
  /// Of each operation that was called.
  public var operations: [String: Part]
  /// Calls that failed, those of the warm-up too.
  public var errors: Int
  public var errorsByCode: [Failure]
  /// Of this process.
  public var clientCpuUsPerCall: Double
  public var isInterrupted: Bool
  /// This run's figures over those of `bench limits`, by their names.
  public var ratios: [String: Double]?

  init(_ tally: Tally, seconds: Double, cpuSeconds: Double, isInterrupted: Bool) {
    self.seconds = seconds
    func part(_ histogram: Histogram<UInt64>, records: Int) -> Part {
      let calls = Int(histogram.totalCount)
      return Part(
        calls: calls, records: records, callsPerSecond: Double(calls) / seconds,
        recordsPerSecond: Double(records) / seconds, latencyUs: Latency(histogram))
    }
    all = part(tally.allLatencies, records: tally.records.reduce(0, +))
    operations = [:]
    for operation in BenchOperation.allCases where tally.latencies[operation.rawValue].totalCount > 0 {
      operations[operation.name] = part(
        tally.latencies[operation.rawValue], records: tally.records[operation.rawValue])
    }
    errors = tally.failureCount
    errorsByCode = tally.failures.map { Failure(code: $0.key, count: $0.value.count, example: $0.value.example) }
      .sorted { ($1.count, $0.code) < ($0.count, $1.code) }
    clientCpuUsPerCall = cpuSeconds * 1_000_000 / Double(max(tally.calls + tally.failureCount, 1))
    self.isInterrupted = isInterrupted
  }
}
