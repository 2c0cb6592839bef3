import ArgumentParser
import Bench
import CommandSupport

struct BenchLimits: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "limits",
    abstract:
      "Measure what PostgreSQL itself does with the same rows: COPY, INSERT, SELECT and statistics in plain SQL.",
    discussion: """
      Works in the schema parley_bench, which it makes and drops. The table has the 18 columns of the plain schema, a \
      uuid key and five further indexes. The other subcommands take what --json prints as --limits.
      """)

  @OptionGroup var database: DatabaseOptions

  @Option(help: "How many rows COPY loads.")
  var rows = 200_000

  @Option(help: "How many seconds of each INSERT and SELECT.")
  var duration = 3.0

  @Option(
    help: "Measure only INSERTs by 16 connections, so many of them due each second; times count from when one was due.")
  var rate: Double?

  @Option(help: "The seed of what is made up.")
  var seed: UInt64 = 1

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() async throws {
    let url = try database.url()
    guard (1...100_000_000).contains(rows) else { throw CommandFailure("--rows \(rows): allowed is 1 to 100000000") }
    guard duration > 0, duration <= 3600 else {
      throw CommandFailure("--duration \(duration): allowed is above 0 and up to 3600")
    }
    if let rate, !(1...1_000_000).contains(rate) {
      throw CommandFailure("--rate \(rate): allowed is 1 to 1000000")
    }
    var reference = ReferenceRun(url: url)
    (reference.rows, reference.seconds, reference.rate, reference.seed) = (rows, duration, rate, seed)
    let report: ReferenceReport
    do {
      report = try await untilSignal { [reference] in try await reference.run() }
    } catch let failure as ReferenceFailure {
      throw CommandFailure(failure.description)
    }
    if json { try printJSON(report) } else { try show(report) }
  }

  private func show(_ report: ReferenceReport) throws {
    if report.isInterrupted { try printLine("interrupted: what is 0 was not measured") }
    try printLine(table(["", "ROWS/S", "P50 MS", "P99 MS"], lines(of: report), rightAligned: [1, 2, 3]))
  }

  private func lines(of report: ReferenceReport) -> [[String]] {
    if let rate = report.rate {
      return [
        [
          "INSERT and COMMIT, 16 connections, \(fixed(rate, 0)) due a second",
          fixed(report.pacedInsertRowsPerSecond ?? 0, 0), fixed((report.pacedInsertP50Us ?? 0) / 1000, 3),
          fixed((report.pacedInsertP99Us ?? 0) / 1000, 3),
        ]
      ]
    }
    return [
      ["binary COPY, 1000 rows a commit", fixed(report.copyRowsPerSecond, 0), "", ""],
      [
        "INSERT and COMMIT, 1 connection", fixed(report.insertRowsPerSecond, 0), fixed(report.insertP50Us / 1000, 3),
        fixed(report.insertP99Us / 1000, 3),
      ],
      ["INSERT and COMMIT, 16 connections", fixed(report.insert16RowsPerSecond, 0), "", ""],
      [
        "SELECT by key, 1 connection", fixed(report.selectRowsPerSecond, 0), fixed(report.selectP50Us / 1000, 3),
        fixed(report.selectP99Us / 1000, 3),
      ],
      ["SELECT by key, 16 connections", fixed(report.select16RowsPerSecond, 0), "", ""],
      ["statistics of \(report.rows) rows", "", fixed(report.statsUs / 1000, 3), ""],
    ]
  }
}
