import ArgumentParser
import Bench
import CommandSupport
import Core
import Foundation
import Messages

struct BenchRecord: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "record", abstract: "Record interactions: one a call, or a batch.")

  @OptionGroup var target: BenchTarget
  @OptionGroup var pace: BenchPace
  @OptionGroup var records: BenchRecords
  @OptionGroup var output: BenchOutput

  func run() async throws {
    let address = try target.resolvedAddress()
    let arrivals = try records.readArrivals()
    let plan = try pace.plan(address, batch: records.batch, arrivals: arrivals, speedup: records.speedup)
    let callers = try await target.tokens().map { Workload.Caller(token: $0) }
    let workload = Workload(
      callers: callers, shares: try target.shares(), mix: [.record: 1],
      pool: try records.pool(seed: pace.seed, arrivals: arrivals), batch: records.batch,
      span: try records.readSpan(count: pace.count), seed: pace.seed, freshness: .random(in: .min ... .max))
    try await BenchRun(name: "record", plan: plan, workload: workload, output: output).run()
  }
}

/// What is recorded.
struct BenchRecords: ParsableArguments {
  @Option(help: "Record this many interactions with a call; more than one by RecordInteractions.")
  var batch = 1

  @Option(
    help: ArgumentHelp(
      "Spread the times of --count interactions over this span before now, such as 30d (all are now).",
      valueName: "time"))
  var span: String?

  @Option(
    help: ArgumentHelp("Take contents from these JSON lines, as import reads them, in order.", valueName: "file"))
  var replay: String?

  @Option(
    help: ArgumentHelp(
      "Make calls at the times of this CSV file (TIMESTAMP,ContextTokens,GeneratedTokens), with texts of those sizes.",
      valueName: "file"))
  var arrivals: String?

  @Option(help: "Let the calls of --arrivals come this many times faster.")
  var speedup = 1.0

  func readArrivals() throws -> Arrivals? {
    guard (1...Limits.batchInteractionsMax).contains(batch) else {
      throw CommandFailure("--batch \(batch): allowed is 1 to \(Limits.batchInteractionsMax)")
    }
    guard (0.001...1_000_000).contains(speedup) else {
      throw CommandFailure("--speedup \(speedup): allowed is 0.001 to 1000000")
    }
    guard let arrivals else { return nil }
    guard let text = try? String(contentsOfFile: arrivals, encoding: .utf8) else {
      throw CommandFailure("--arrivals \(arrivals): it cannot be read")
    }
    do {
      return try Arrivals(csv: text)
    } catch {
      throw CommandFailure("--arrivals \(arrivals): \(error)")
    }
  }

  func pool(seed: UInt64, arrivals: Arrivals?) throws -> ContentPool {
    guard let replay else { return arrivals.map { ContentPool(seed: seed, arrivals: $0) } ?? ContentPool(seed: seed) }
    let lines = try LineReader(path: replay, as: "--replay \(replay)")
    var contents: [InteractionContent] = []
    while let (number, text) = try lines.next() {
      do {
        let (draft, _, _) = try InteractionDraft.read(text)
        contents.append(draft.content)
      } catch {
        throw CommandFailure("--replay \(replay), line \(number): \(error)")
      }
    }
    guard !contents.isEmpty else { throw CommandFailure("--replay \(replay): it holds no interactions") }
    return ContentPool(replaying: contents)
  }

  func readSpan(count: Int?) throws -> Workload.Span? {
    guard let span else { return nil }
    guard let count else { throw CommandFailure("--span \(span): give --count too, to spread so many over it") }
    guard let milliseconds = spanMilliseconds(span) else {
      throw CommandFailure("--span \(span): allowed is \(spanForm)")
    }
    return Workload.Span(milliseconds: milliseconds, count: count, end: .now)
  }
}
