import ArgumentParser
import Bench
import CommandSupport
import Core
import Foundation
import Messages
import ParleyClient

struct BenchGet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "get", abstract: "Get interactions at random, of those that are listed first.")

  @OptionGroup var reading: BenchReading
  @OptionGroup var known: BenchKnownIDs
  @OptionGroup var output: BenchOutput

  func run() async throws {
    try await reading.run(.get, output) { token, address in
      .init(token: token, ids: try await known.ids(of: token, at: address))
    }
  }
}

struct BenchList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List pages of 50 interactions.",
    discussion: """
      Filters: model=NAME, type=NAME, handoff=true or false, reason=TEXT, intent=NAME, min-confidence=X, \
      max-confidence=X, conversation=ID, or conversation alone for any of those that are listed first; several are \
      separated by commas. The rare values are told by parley bench --help.
      """)

  @OptionGroup var reading: BenchReading
  @OptionGroup var filter: BenchFilter
  @OptionGroup var output: BenchOutput

  func run() async throws {
    try await reading.run(.list, output) { token, address in
      let lists = try await filter.requests(of: token, at: address, seed: reading.pace.seed)
      return .init(token: token, lists: lists.map { $0.encoded() })
    }
  }
}

struct BenchStats: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats", abstract: "Ask for statistics: of the last 30 days, unless told.")

  @OptionGroup var reading: BenchReading
  @OptionGroup var range: BenchStatsRange
  @OptionGroup var output: BenchOutput

  func run() async throws {
    try await reading.run(.stats, output) { token, _ in .init(token: token, stats: [range.request.encoded()]) }
  }
}

/// What is the same for everything that only reads.
struct BenchReading: ParsableArguments {
  @OptionGroup var target: BenchTarget
  @OptionGroup var pace: BenchPace

  /// - Parameter caller: what the tenant of that token asks for.
  func run(
    _ operation: BenchOperation, _ output: BenchOutput, caller: (String, Address) async throws -> Workload.Caller
  ) async throws {
    let address = try target.resolvedAddress()
    let plan = try pace.plan(address)
    var callers: [Workload.Caller] = []
    for token in try await target.tokens() { callers.append(try await caller(token, address)) }
    if operation == .get { try BenchKnownIDs.require(callers) }
    let workload = Workload(callers: callers, shares: try target.shares(), mix: [operation: 1], seed: pace.seed)
    try await BenchRun(name: operation.name, plan: plan, workload: workload, output: output).run()
  }
}

struct BenchMixed: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mixed", abstract: "Record, get, list and ask for statistics at once.")

  @OptionGroup var target: BenchTarget
  @OptionGroup var pace: BenchPace
  @OptionGroup var records: BenchRecords
  @OptionGroup var known: BenchKnownIDs
  @OptionGroup var range: BenchStatsRange
  @OptionGroup var output: BenchOutput

  @Option(help: "The shares of record, get, list and stats.")
  var mix = "90,8,1.5,0.5"

  func run() async throws {
    let address = try target.resolvedAddress()
    guard records.span == nil else { throw CommandFailure("--span \(records.span ?? ""): only bench record takes it") }
    let arrivals = try records.readArrivals()
    let plan = try pace.plan(address, arrivals: arrivals, speedup: records.speedup)
    let shares = try readMix()
    var callers: [Workload.Caller] = []
    for token in try await target.tokens() {
      let ids = (shares[.get] ?? 0) > 0 ? try await known.ids(of: token, at: address) : []
      callers.append(
        .init(
          token: token, ids: ids, lists: [ListInteractions().encoded()], stats: [range.request.encoded()]))
    }
    if (shares[.get] ?? 0) > 0 { try BenchKnownIDs.require(callers) }
    let workload = Workload(
      callers: callers, shares: try target.shares(), mix: shares,
      pool: try records.pool(seed: pace.seed, arrivals: arrivals), batch: records.batch, seed: pace.seed,
      freshness: .random(in: .min ... .max))
    try await BenchRun(name: "mixed", plan: plan, workload: workload, output: output).run()
  }

  private func readMix() throws -> [BenchOperation: Double] {
    let weights = mix.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) ?? -1 }
    guard weights.count == BenchOperation.allCases.count, weights.allSatisfy({ $0 >= 0 }),
      weights.contains(where: { $0 > 0 })
    else {
      throw CommandFailure(
        "--mix \(mix): allowed are four numbers from 0 on, separated by commas: of record, get, list and stats")
    }
    return Dictionary(uniqueKeysWithValues: zip(BenchOperation.allCases, weights))
  }
}

/// Interactions that are there.
struct BenchKnownIDs: ParsableArguments {
  @Option(help: ArgumentHelp("Get the ids of this file, one a line, instead of listed ones.", valueName: "file"))
  var ids: String?

  @Option(help: "List at most this many ids of each tenant.")
  var idsMax = 20_000

  func ids(of token: String, at address: Address) async throws -> [InteractionID] {
    guard idsMax > 0 else { throw CommandFailure("--ids-max \(idsMax): allowed is a whole number above 0") }
    guard let ids else {
      return try await Self.interactions(of: token, at: address, countMax: idsMax).map(\.id)
    }
    guard let text = try? String(contentsOfFile: ids, encoding: .utf8) else {
      throw CommandFailure("--ids \(ids): it cannot be read")
    }
    return try text.split(whereSeparator: \.isNewline).enumerated().map { index, line in
      guard let id = InteractionID(line.trimmingCharacters(in: .whitespaces)) else {
        throw CommandFailure("--ids \(ids), line \(index + 1): is no id")
      }
      return id
    }
  }

  static func require(_ callers: [Workload.Caller]) throws {
    guard callers.contains(where: { !$0.ids.isEmpty }) else {
      throw CommandFailure(
        "there are no interactions to get; record some first, such as: parley bench record --count 1000")
    }
  }

  /// The newest ones.
  static func interactions(
    of token: String, at address: Address, countMax: Int
  ) async throws -> [Interaction] {
    let client = ParleyClient(address: address, token: token)
    var found: [Interaction] = []
    do throws(RPCError) {
      var request = ListInteractions(pageSize: Int32(Limits.pageSizeMax))
      repeat {
        let page = try await client.list(request)
        found += page.interactions
        request.pageToken = page.nextPageToken
      } while !request.pageToken.isEmpty && found.count < countMax
    } catch {
      await client.close()
      throw error.forTerminal
    }
    await client.close()
    return Array(found.prefix(countMax))
  }
}

/// Which pages are listed.
struct BenchFilter: ParsableArguments {
  @Option(help: "The filter of the lists, as explained above (none).")
  var filter = "none"

  @Option(
    help: ArgumentHelp(
      "List pages that end at random times within this span before now, such as 30d (the newest).", valueName: "time"))
  var within: String?

  @Flag(help: "List the texts, too.")
  var texts = false

  private static let variants = 1000

  func requests(of token: String, at address: Address, seed: UInt64) async throws -> [ListInteractions] {
    let (filter, isAnyConversation) = try parsed()
    let view = texts ? InteractionView.full : .basic
    var requests = [ListInteractions(filter: filter, view: view)]
    if isAnyConversation {
      let listed = try await BenchKnownIDs.interactions(of: token, at: address, countMax: 20_000)
      let conversations = Set(listed.map(\.content.conversationID)).sorted().prefix(Self.variants)
      guard !conversations.isEmpty else {
        throw CommandFailure("there are no conversations to list; record some first")
      }
      requests = conversations.map { conversation in
        var filter = filter
        filter.conversationID = conversation
        return ListInteractions(filter: filter, view: view)
      }
    }
    guard let within else { return requests }
    guard let milliseconds = spanMilliseconds(within) else {
      throw CommandFailure("--within \(within): allowed is \(spanForm)")
    }
    var random = SeededRandom(seed: seed)
    let now = Timestamp.now
    return (0..<Self.variants).map { number in
      var request = requests[number % requests.count]
      request.filter.endTime = now - Int64.random(in: 0..<milliseconds, using: &random)
      return request
    }
  }

  private func parsed() throws -> (filter: InteractionFilter, isAnyConversation: Bool) {
    var filter = InteractionFilter()
    var isAnyConversation = false
    for term in self.filter.split(separator: ",") where term != "none" {
      let parts = term.split(separator: "=", maxSplits: 1).map(String.init)
      let value = parts.count == 2 ? parts[1] : nil
      switch (parts.first ?? "", value) {
      case ("model", let value?): filter.modelUsed = value
      case ("type", let value?): filter.messageType = value
      case ("reason", let value?): filter.handoffReason = value
      case ("intent", let value?): filter.intent = value
      case ("conversation", let value): (filter.conversationID, isAnyConversation) = (value, value == nil)
      case ("handoff", "true"): filter.handoffTriggered = true
      case ("handoff", "false"): filter.handoffTriggered = false
      case ("min-confidence", let value?) where Double(value) != nil: filter.minConfidence = Double(value)
      case ("max-confidence", let value?) where Double(value) != nil: filter.maxConfidence = Double(value)
      default:
        throw CommandFailure(
          "--filter \(term): allowed are none, model=, type=, handoff=true or false, reason=, intent=, min-confidence=, max-confidence= and conversation"
        )
      }
    }
    return (filter, isAnyConversation)
  }
}

/// Of what the statistics are.
struct BenchStatsRange: ParsableArguments {
  enum Interval: String, ExpressibleByArgument {
    case hour, day, none
  }

  @Option(help: "Also a series over time: hour, day or none.")
  var interval = Interval.hour

  @Option(help: "From this time on: RFC 3339, or a date (UTC).", transform: Timestamp.init(argument:))
  var from: Timestamp?

  @Option(help: "Before this time: RFC 3339, or a date (UTC).", transform: Timestamp.init(argument:))
  var to: Timestamp?

  var request: GetStats {
    var filter = InteractionFilter()
    (filter.startTime, filter.endTime) = (from, to)
    return GetStats(filter: filter, interval: interval == .none ? nil : interval == .hour ? .hour : .day)
  }
}

/// A length of time as a flag has it.
func spanMilliseconds(_ text: String) -> Int64? {
  let units: [Character: Int64] = ["s": 1000, "m": 60_000, "h": .millisecondsPerHour, "d": .millisecondsPerDay]
  guard let unit = text.last.flatMap({ units[$0] }), let number = UInt16(text.dropLast()), number > 0,
    Int64(number) * unit <= spanDaysMax * .millisecondsPerDay
  else {
    return nil
  }
  return Int64(number) * unit
}

/// Back to a time after 1970.
private let spanDaysMax: Int64 = 20_000

let spanForm = "a number from 1 to 65535 and s, m, h or d, such as 30d, up to \(spanDaysMax) days"
