import ArgumentParser
import Bench
import CommandSupport
import Core
import Foundation
import Messages
import Subprocess
import SystemPackage

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

  @Option(help: "Make this many connections for gets.")
  var getConnections = 4

  @Option(help: "Keep this many gets under way on each connection.")
  var getInFlight = 16

  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(help: ArgumentHelp("Only flood, by this method, until SIGINT.", visibility: .hidden))
  var flood: Flood?

  func run() async throws {
    guard pace.count == nil else { throw CommandFailure("--count: give --duration instead") }
    let address = try target.resolvedAddress()
    let tokens = try await target.tokens(count: 2)
    let plan = try pace.plan(address)
    if let flood {
      let caller = Workload.Caller(
        token: tokens[0], ids: try await Self.ids(of: tokens[0], at: address), lists: [Flood.scanningList.encoded()],
        stats: [Flood.scanningStats.encoded()])
      return try await flood.run(by: caller, plan, seed: pace.seed)
    }
    var gets = plan
    (gets.pace, gets.connections, gets.callsInFlight) = (.closed, getConnections, getInFlight)
    let getter = Workload.Caller(token: tokens[1], ids: try await Self.ids(of: tokens[1], at: address))
    let run = FairnessRun(getter: getter, gets: gets, seed: pace.seed)
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

extension Flood: ExpressibleByArgument {
  private static let batch = 500
  /// Printed when the flood begins; a report in JSON follows when it has ended.
  fileprivate static let begins = "flooding"

  struct Report: Codable, Sendable {
    var callsPerSecond: Double
    var errors: Int
  }

  fileprivate func run(by caller: Workload.Caller, _ plan: LoadPlan, seed: UInt64) async throws {
    var plan = plan
    // Whoever began it ends it, in good time.
    let longest = (plan.seconds ?? 0) + plan.warmupSeconds + 60
    (plan.seconds, plan.warmupSeconds, plan.timeoutSeconds) = (longest, 0, min(plan.timeoutSeconds, 5))
    let workload = Workload(
      callers: [caller], shares: .zipf(1), mix: [operation: 1],
      pool: operation == .record ? ContentPool(seed: seed) : nil, batch: self == .batches ? Self.batch : 1,
      seed: seed, freshness: .random(in: .min ... .max))
    try printLine(Self.begins)
    let report = try await untilSignal { [plan] in try await LoadRunner.run(workload, plan) }
    try printJSON(Report(callsPerSecond: report.all.callsPerSecond, errors: report.errors))
  }
}

private struct FairnessRun: Sendable {
  var getter: Workload.Caller
  var gets: LoadPlan
  var seed: UInt64

  func report() async throws -> FairnessReport {
    var report = FairnessReport()
    for flood in Flood.allCases {
      let alone = try await measure()
      // The gets' warm-up is the flood's, too.
      let (measured, flooded) = try await beside(flood) { try await measure() }
      report.errors += alone.errors + measured.errors
      guard !Task.isCancelled, let flooded else {
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

  /// Runs `body` while a process floods: gets of the flood's own process would wait for its threads before they have
  /// left it.
  ///
  /// - Returns: what both have; nil for a flood that was interrupted.
  private func beside<Result: Sendable>(
    _ flood: Flood, run body: @Sendable () async throws -> Result
  ) async throws -> (Result, Flood.Report?) {
    let command = Subprocess.Configuration(
      executable: .path("/proc/self/exe"),
      arguments: .init(CommandLine.arguments.dropFirst() + ["--flood", flood.rawValue]))
    return try await Subprocess.run(
      command, input: .none, output: .sequence, error: .currentStandardError
    ) { process in
      var report = ""
      var result: Result?
      for try await line in process.standardOutput.strings() {
        if result == nil, line.trimmingCharacters(in: .whitespacesAndNewlines) == Flood.begins {
          result = try await body()
          try process.send(signal: .interrupt)
        } else {
          report += line
        }
      }
      guard let result else { throw CommandFailure("the flood by \(flood.rawValue) did not begin") }
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      return (result, try? decoder.decode(Flood.Report.self, from: Data(report.utf8)))
    }.closureResult
  }
}

extension FairnessReport.Measured {
  fileprivate init(_ flood: Flood, alone: LoadReport, _ measured: LoadReport, _ flooded: Flood.Report) {
    method = flood.rawValue
    aloneP99Us = alone.all.latencyUs.p99
    p99Us = measured.all.latencyUs.p99
    p99Ratio = aloneP99Us > 0 ? p99Us / aloneP99Us : 0
    getsPerSecondRatio = alone.all.calls > 0 ? measured.all.callsPerSecond / alone.all.callsPerSecond : 0
    floodCallsPerSecond = flooded.callsPerSecond
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
