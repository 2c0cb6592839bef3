import ArgumentParser
import CommandSupport
import Core
import Foundation
import ParleyClient

struct Get: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Show one interaction.")

  @Argument(help: "Its id.")
  var id: String

  @OptionGroup var client: ClientOptions

  func run() async throws {
    let interaction = try await client.ask { (client) throws(RPCError) in try await client.get(id) }
    if client.json { return try printJSON(InteractionJSON(interaction, texts: true)) }
    let content = interaction.content
    let intents = content.detectedIntents.map { "\(printable($0.name)) (\($0.confidence))" }
    let lines = [
      ["id", "\(interaction.id)"],
      ["created", interaction.createdAt.rfc3339],
      ["conversation", printable(content.conversationID)],
      ["customer", printable(content.customerMessage)],
      ["agent", printable(content.agentResponse)],
      ["intents", intents.isEmpty ? "none" : intents.joined(separator: ", ")],
      ["model", printable(content.modelUsed)],
      ["type", content.messageType],
      ["confidence", "\(content.confidenceScore)"],
      ["hand-off", content.handoffTriggered ? "yes: \(printable(content.handoffReason))" : "no"],
      ["took", "\(content.processingTimeMilliseconds) ms"],
      ["context", "\(content.contextSize) tokens"],
      ["tokens", "\(content.promptTokens) + \(content.completionTokens) = \(content.totalTokens)"],
      ["cost", dollars(content.estimatedCostNanos)],
      ["updated", interaction.updatedAt?.rfc3339 ?? ""],
    ]
    try printLine(
      lines.map { line in line[0] + String(repeating: " ", count: 14 - line[0].count) + line[1] }.joined(
        separator: "\n"))
  }
}

struct List: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "List interactions, newest first.")

  enum View: String, CaseIterable, ExpressibleByArgument {
    case basic, full
  }

  @OptionGroup var filter: FilterOptions

  @Option(
    parsing: .unconditional,
    help: "How many interactions, 1 to \(Limits.pageSizeMax) (default: \(Limits.pageSizeDefault)).")
  var pageSize: Int32?

  @Option(help: "Continue with the next page: the token that the last page ended with.")
  var pageToken: String?

  @Option(help: "basic, or full, which includes the texts.")
  var view = View.basic

  @OptionGroup var client: ClientOptions

  func run() async throws {
    let request = ListInteractions(
      filter: try filter.filter(), pageSize: pageSize ?? 0, pageToken: pageToken ?? "",
      view: view == .full ? .full : .basic)
    let page = try await client.ask { (client) throws(RPCError) in try await client.list(request) }
    if client.json {
      return try printJSON(
        PageJSON(
          interactions: page.interactions.map { InteractionJSON($0, texts: view == .full) },
          nextPageToken: page.nextPageToken))
    }
    guard !page.interactions.isEmpty else { return try printLine("no interactions") }
    var headings = ["CREATED", "ID", "CONVERSATION", "MODEL", "TYPE", "CONF", "MS", "TOKENS", "COST", "HAND-OFF"]
    if view == .full { headings += ["CUSTOMER", "AGENT"] }
    try printLine(table(headings, page.interactions.map(row), rightAligned: [5, 6, 7, 8]))
    if !page.nextPageToken.isEmpty { try printLine("more: --page-token \(page.nextPageToken)") }
  }

  private func row(_ interaction: Interaction) -> [String] {
    let content = interaction.content
    let cells = [
      interaction.createdAt.rfc3339, "\(interaction.id)", short(content.conversationID, 36),
      short(content.modelUsed, 24), content.messageType, "\(content.confidenceScore)",
      "\(content.processingTimeMilliseconds)", "\(content.totalTokens)", dollars(content.estimatedCostNanos),
      content.handoffTriggered ? "yes: \(short(content.handoffReason, 40))" : "",
    ]
    return view == .full ? cells + [short(content.customerMessage, 60), short(content.agentResponse, 60)] : cells
  }
}

private func short(_ text: String, _ width: Int) -> String {
  let text = printable(text)
  return text.count <= width ? text : text.prefix(width - 1) + "…"
}

struct ShowStats: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats",
    abstract: "Show cost, confidence, hand-offs and latency: of the last 30 days, or 30 days from --from or up to --to."
  )

  enum Interval: String, CaseIterable, ExpressibleByArgument {
    case hour, day
  }

  @OptionGroup var filter: FilterOptions

  @Option(help: "Also show a series by hour or day.")
  var interval: Interval?

  @OptionGroup var client: ClientOptions

  func run() async throws {
    let request = GetStats(filter: try filter.filter(), interval: interval.map { $0 == .hour ? .hour : .day })
    let report = try await client.ask { (client) throws(RPCError) in try await client.stats(request) }
    if client.json { return try printJSON(StatsReportJSON(report)) }
    try printLine("from \(report.start.rfc3339) to \(report.end.rfc3339)\n")
    let headings = [
      "", "COUNT", "COST", "CONFIDENCE", "HIGH", "LOW", "HAND-OFFS", "RATE", "AVG MS", "P50", "P95", "P99", "TOKENS",
    ]
    var rows = [row("all", report.totals)]
    rows += report.byModel.map { row("model \(name($0))", $0.stats) }
    rows += report.byMessageType.map { row("type \(name($0))", $0.stats) }
    rows += report.byHandoffReason.map { row("hand-off: \(name($0))", $0.stats) }
    rows += report.series.map { row($0.start.rfc3339, $0.stats) }
    try printLine(table(headings, rows, rightAligned: Set(1...12)))
    let counts = report.totals.confidenceHistogram.map { "\($0)" }
    try printLine("\nCONFIDENCE FROM" + (0..<10).map { "     0.\($0)" }.joined())
    try printLine("COUNT          " + counts.map { String(repeating: " ", count: max(8 - $0.count, 1)) + $0 }.joined())
  }

  private func name(_ group: StatsGroup) -> String {
    group.isRemainder ? "(all others)" : group.key.isEmpty ? "(none)" : short(group.key, 48)
  }

  private func row(_ label: String, _ stats: Stats) -> [String] {
    [
      label, "\(stats.totalInteractions)", dollars(stats.totalCostNanos), fixed(stats.averageConfidence, 4),
      "\(stats.highConfidenceCount)", "\(stats.lowConfidenceCount)", "\(stats.handoffCount)",
      fixed(stats.handoffRate * 100, 1) + "%", fixed(stats.averageProcessingTimeMilliseconds, 1), "\(stats.p50)",
      "\(stats.p95)", "\(stats.p99)", "\(stats.totalTokens)",
    ]
  }
}
