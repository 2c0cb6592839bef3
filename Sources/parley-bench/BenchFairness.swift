import ArgumentParser
import Bench
import CommandSupport
import Domain
import Wire

struct BenchFairness: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fairness",
    abstract: "Measure the gets of one tenant alone, then while another tenant floods the server by each method.",
    discussion: """
      The first tenant floods, with --connections times --in-flight calls always under way; the second gets, with calls \
      of its own. Both must have interactions. Before each flood the gets are measured alone, and the ratio is that of \
      the two p99. Refused calls of a flood are counted, and are no failure. --duration is that of each measurement.
      """)

  @OptionGroup var target: BenchTarget
  @OptionGroup var pace: BenchPace

  @Option(help: "How many connections get.")
  var getConnections = 4

  @Option(help: "How many gets are under way on each.")
  var getInFlight = 16

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() async throws {
    let address = try target.resolvedAddress()
    guard pace.count == nil else { throw CommandFailure("--count: give --duration instead") }
    var flood = try pace.plan(address)
    var gets = flood
    (gets.pace, gets.connections, gets.callsInFlight) = (.closed, getConnections, getInFlight)
    // It ends with the gets.
    (flood.seconds, flood.warmupSeconds, flood.timeoutSeconds) = (nil, 0, min(flood.timeoutSeconds, 5))
    let tokens = try await target.tokens(count: 2)
    let flooder = Workload.Caller(
      token: tokens[0], ids: try await Self.ids(of: tokens[0], at: address), lists: [Flood.scanningList.encoded()],
      stats: [Flood.scanningStats.encoded()])
    let getter = Workload.Caller(token: tokens[1], ids: try await Self.ids(of: tokens[1], at: address))
    let run = FairnessRun(flooder: flooder, getter: getter, flood: flood, gets: gets, seed: pace.seed)
    let report: FairnessReport
    do {
      report = try await untilSignal { try await run.report() }
    } catch let failure as LoadRunner.Failure {
      throw CommandFailure(failure.description)
    }
    if json { try printJSON(report) } else { try show(report) }
    if report.errors > 0 { throw ExitCode(1) }
  }

  private static func ids(of token: String, at address: Address) async throws -> [InteractionID] {
    let ids = try await BenchKnownIDs.interactions(of: token, at: address, countMax: 20_000).map(\.id)
    guard !ids.isEmpty else {
      throw CommandFailure(
        "a tenant has no interactions; record some first, such as: parley bench record --tenants 2 --count 20000")
    }
    return ids
  }

  private func show(_ report: FairnessReport) throws {
    let rows = report.floods.map { flood in
      [
        flood.method, fixed(flood.aloneP99Us / 1000, 3), fixed(flood.p99Us / 1000, 3), fixed(flood.p99Ratio, 2),
        fixed(flood.floodCallsPerSecond, 1), "\(flood.floodErrors)",
      ]
    }
    let headings = ["FLOOD", "GET P99 MS ALONE", "WITH IT", "RATIO", "FLOOD CALLS/S", "REFUSED"]
    try printLine(table(headings, rows, rightAligned: Set(1...5)))
    try printLine(report.errors == 0 ? "errors of gets: none" : "errors of gets: \(report.errors)")
    if report.isInterrupted { try printLine("interrupted: floods that are missing were not measured") }
  }
}

/// What one tenant can do to the others.
enum Flood: String, CaseIterable {
  // Reads first: what is recorded is still being counted for a while.
  case get, list, stats, batches, record

  var operation: BenchOperation {
    switch self {
    case .record, .batches: .record
    case .get: .get
    case .list: .list
    case .stats: .stats
    }
  }

  /// Pages of what is never: each value alone is common, so that many rows are looked at for none.
  static var scanningList: ListInteractions {
    var filter = InteractionFilter()
    (filter.handoffTriggered, filter.handoffReason) = (false, InteractionGenerator.commonReason)
    return ListInteractions(filter: filter)
  }

  /// By an intent nothing is added up ahead, so that every row is looked at.
  static var scanningStats: GetStats {
    var filter = InteractionFilter()
    filter.intent = InteractionGenerator.commonIntent
    return GetStats(filter: filter)
  }
}

struct FairnessReport: Encodable, Sendable {
  struct Measured: Encodable, Sendable {
    var method: String
    var aloneP99Us: Double
    var p99Us: Double
    var p99Ratio: Double
    var getsPerSecondRatio: Double
    var floodCallsPerSecond: Double
    var floodErrors: Int
  }

  var floods: [Measured] = []
  /// Of the gets.
  var errors = 0
  var isInterrupted = false
}

private struct FairnessRun: Sendable {
  var flooder: Workload.Caller
  var getter: Workload.Caller
  var flood: LoadPlan
  var gets: LoadPlan
  var seed: UInt64

  private static let batch = 500

  func report() async throws -> FairnessReport {
    var report = FairnessReport()
    for flood in Flood.allCases {
      let alone = try await measure()
      // The gets' warm-up is the flood's, too.
      let (flooded, measured) = try await beside {
        try await LoadRunner.run(workload(flood), self.flood)
      } run: {
        try await measure()
      }
      report.errors += alone.errors + measured.errors
      guard !Task.isCancelled else {
        report.isInterrupted = true
        break
      }
      report.floods.append(.init(flood, alone: alone, measured, flooded))
    }
    return report
  }

  private func measure() async throws -> LoadReport {
    try await LoadRunner.run(Workload(callers: [getter], shares: .zipf(1), mix: [.get: 1], seed: seed), gets)
  }

  private func workload(_ flood: Flood) -> Workload {
    Workload(
      callers: [flooder], shares: .zipf(1), mix: [flood.operation: 1],
      pool: flood.operation == .record ? ContentPool(seed: seed) : nil, batch: flood == .batches ? Self.batch : 1,
      seed: seed, freshness: .random(in: .min ... .max))
  }
}

extension FairnessReport.Measured {
  fileprivate init(_ flood: Flood, alone: LoadReport, _ measured: LoadReport, _ flooded: LoadReport) {
    method = flood.rawValue
    aloneP99Us = alone.all.latencyUs.p99
    p99Us = measured.all.latencyUs.p99
    p99Ratio = aloneP99Us > 0 ? p99Us / aloneP99Us : 0
    getsPerSecondRatio = alone.all.calls > 0 ? measured.all.callsPerSecond / alone.all.callsPerSecond : 0
    floodCallsPerSecond = flooded.all.callsPerSecond
    floodErrors = flooded.errors
  }
}

/// Runs `body` with something else under way, which is cancelled when `body` is done.
///
/// - Returns: what both have.
func beside<Other: Sendable, Result>(
  _ other: @escaping @Sendable () async throws -> Other, run body: () async throws -> Result
) async throws -> (Other, Result) {
  let task = Task { try await other() }
  do {
    let result = try await body()
    task.cancel()
    return (try await task.value, result)
  } catch {
    task.cancel()
    _ = try? await task.value
    throw error
  }
}
