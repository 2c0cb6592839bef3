import ArgumentParser
import Bench
import CommandSupport
import Core
import Messages
import ParleyClient

struct BenchRepeats: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "repeats",
    abstract: "Measure how fast one tenant records, without and while another repeats one taken id.",
    discussion: """
      The first tenant repeats, the second records. Each is measured twice for --duration: without, with, with, without; \
      the ratio is that of what was recorded with the repeats to what was recorded without.
      """)

  @OptionGroup var target: BenchTarget
  @OptionGroup var pace: BenchPace

  @Option(help: "How often a second the id is repeated.")
  var repeats = 50

  @Flag(help: "Print one JSON object.")
  var json = false

  private struct Report: Encodable, Sendable {
    var recordsPerSecondWithout = 0.0
    var recordsPerSecondWith = 0.0
    var ratio = 0.0
    /// Repeats that were answered with the interaction there was.
    var repeats = 0
    var errors = 0
    var isInterrupted = false
  }

  func run() async throws {
    let address = try target.resolvedAddress()
    guard pace.count == nil else { throw CommandFailure("--count: give --duration instead") }
    guard (1...100_000).contains(repeats) else { throw CommandFailure("--repeats \(repeats): allowed is 1 to 100000") }
    let plan = try pace.plan(address)
    let tokens = try await target.tokens(count: 2)
    let repeater = try await Repeater(address: address, token: tokens[0], perSecond: repeats)
    let (seed, token) = (pace.seed, tokens[1])
    let report: Report
    do {
      report = try await untilSignal { try await Self.measure(plan, token, seed: seed, repeater) }
    } catch let failure as LoadRunner.Failure {
      throw CommandFailure(failure.description)
    }
    await repeater.close()
    if json { try printJSON(report) } else { try show(report) }
    if report.errors > 0 { throw ExitCode(1) }
  }

  private static func measure(
    _ plan: LoadPlan, _ token: String, seed: UInt64, _ repeater: Repeater
  ) async throws -> Report {
    var report = Report()
    for isRepeated in [false, true, true, false] {
      let workload = Workload(
        callers: [.init(token: token)], shares: .zipf(1), mix: [.record: 1], pool: ContentPool(seed: seed), seed: seed,
        freshness: .random(in: .min ... .max))
      let (repeats, measured) = try await beside {
        isRepeated ? await repeater.run() : 0
      } run: {
        try await LoadRunner.run(workload, plan)
      }
      report.repeats += repeats
      report.errors += measured.errors
      if isRepeated {
        report.recordsPerSecondWith += measured.all.recordsPerSecond / 2
      } else {
        report.recordsPerSecondWithout += measured.all.recordsPerSecond / 2
      }
    }
    report.isInterrupted = Task.isCancelled
    report.ratio = report.recordsPerSecondWith / max(report.recordsPerSecondWithout, 1)
    return report
  }

  private func show(_ report: Report) throws {
    try printLine(
      table(
        ["RECORDS/S WITHOUT", "WITH REPEATS", "RATIO", "REPEATS ANSWERED"],
        [
          [
            fixed(report.recordsPerSecondWithout, 1), fixed(report.recordsPerSecondWith, 1), fixed(report.ratio, 3),
            "\(report.repeats)",
          ]
        ], rightAligned: Set(0...3)))
    try printLine(report.errors == 0 ? "errors: none" : "errors: \(report.errors)")
    if report.isInterrupted { try printLine("interrupted: the ratio is of what was measured so far") }
  }
}

/// A client that records one interaction again and again.
private struct Repeater: Sendable {
  private let client: ParleyClient
  private let draft: InteractionDraft
  private let perSecond: Int

  init(address: Address, token: String, perSecond: Int) async throws {
    client = ParleyClient(address: address, token: token)
    var draft = InteractionDraft()
    draft.id = InteractionID(at: .now).description
    draft.content.conversationID = "repeated"
    self.draft = draft
    self.perSecond = perSecond
    do throws(RPCError) { _ = try await client.record(draft) } catch { throw error.forTerminal }
  }

  /// Until its task is cancelled, a call each time one is due, whatever became of those before.
  ///
  /// - Returns: how many were answered.
  func run() async -> Int {
    let begun = ContinuousClock.now
    return await withTaskGroup(of: Bool.self) { group in
      var number = 0
      while !Task.isCancelled {
        group.addTask { (try? await client.record(draft))?.alreadyRecorded == true }
        number += 1
        try? await Task.sleep(until: begun + .seconds(1) * number / perSecond)
      }
      return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
  }

  func close() async { await client.close() }
}
