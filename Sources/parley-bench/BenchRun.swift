import ArgumentParser
import Bench
import CommandSupport
import Core
import Foundation
import UnixSignals

/// One measured run: does it, shows it, and ends with status 1 where calls failed.
struct BenchRun {
  var name: String
  var plan: LoadPlan
  var workload: Workload
  var output: BenchOutput

  func run() async throws {
    // What is wrong with it is told before anything is measured.
    let reference = try output.reference()
    var report = try await measured()
    report.operation = name
    report.transport = plan.transport.rawValue
    report.connections = plan.connections
    report.inFlight = plan.callsInFlight
    report.batch = workload.batch
    if case .rate(let rate) = plan.pace { report.rate = rate }
    report.seed = workload.seed
    report.ratios = reference?.ratios(to: report)
    if output.json { try printJSON(report) } else { try show(report) }
    if report.errors > 0 { throw ExitCode(1) }
  }

  private func measured() async throws -> LoadReport {
    let (workload, plan) = (workload, plan)
    defer { LiveLine.clear() }
    do {
      return try await untilSignal { try await LoadRunner.run(workload, plan, progress: Self.showLine) }
    } catch let failure as LoadRunner.Failure {
      throw CommandFailure(failure.description)
    }
  }

  @Sendable private static func showLine(_ progress: LoadProgress) {
    let perSecond = Int(Double(progress.calls) / max(progress.seconds, 0.001))
    LiveLine.show(
      "\(Int(progress.seconds)) s: \(progress.calls) calls, \(progress.records) records, \(perSecond) calls/s, \(progress.failures) errors"
    )
  }

  private func show(_ report: LoadReport) throws {
    try printLine(
      "\(report.operation) over \(report.transport): \(report.connections) connections with \(report.inFlight) in flight, \(fixed(report.seconds, 2)) s\(report.isInterrupted ? ", interrupted" : "")"
    )
    let headings = ["", "CALLS", "CALLS/S", "RECORDS/S", "P50 MS", "P90 MS", "P99 MS", "P99.9 MS", "MAX MS"]
    var rows: [[String]] = []
    if report.operations.count != 1 { rows.append(row("all", report.all)) }
    rows += report.operations.sorted { $0.value.calls > $1.value.calls }.map { row($0.key, $0.value) }
    try printLine(table(headings, rows, rightAligned: Set(1...8)))
    try printLine("client CPU a call: \(fixed(report.clientCpuUsPerCall, 2)) us")
    try printLine(report.errors == 0 ? "errors: none" : "errors: \(report.errors)")
    for failure in report.errorsByCode {
      try printLine("  \(failure.count) x \(failure.code): \(printable(failure.example))")
    }
    for (name, ratio) in (report.ratios ?? [:]).sorted(by: { $0.key < $1.key }) {
      try printLine("\(name): \(fixed(ratio, 3))")
    }
  }

  private func row(_ name: String, _ part: LoadReport.Part) -> [String] {
    let latency = part.latencyUs
    return [name, "\(part.calls)", fixed(part.callsPerSecond, 1), fixed(part.recordsPerSecond, 1)]
      + [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map { fixed($0 / 1000, 3) }
  }
}

/// Runs `body`; SIGINT and SIGTERM cancel it, and it ends with what it has.
func untilSignal<Result: Sendable>(_ body: @escaping @Sendable () async throws -> Result) async throws -> Result {
  try await withThrowingTaskGroup(of: Result?.self) { group in
    group.addTask { try await body() }
    group.addTask {
      for await _ in await UnixSignalsSequence(trapping: .sigint, .sigterm) { break }
      return nil
    }
    while let next = try await group.next() {
      group.cancelAll()
      if let next { return next }
    }
    throw CommandFailure("nothing was measured")
  }
}
