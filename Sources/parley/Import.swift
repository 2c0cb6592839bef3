import ArgumentParser
import Crypto
import Domain
import Foundation
import ParleyClient
import Wire

struct Import: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Record the interactions of a file of JSON lines.",
    discussion: """
      A line has the schema's field names, with created_at (RFC 3339) or created_at_ms, token counts flat
      or in token_usage, and estimated_cost_nanos or estimated_cost_usd. A line without an id gets one
      made of its content, so that importing a file again, or the rest of it after a break, adds nothing twice.
      Bad lines are reported with their number; the rest is imported. Ends with status 1 if there were any.
      """)

  @Argument(help: "The file, or - for standard input.")
  var file: String

  @Option(
    help: ArgumentHelp("Only the lines whose tenant field is this; a token is for one tenant.", valueName: "name"))
  var onlyTenant: String?

  @OptionGroup var client: ClientOptions

  func run() async throws {
    guard let lines = LineReader(path: file) else { throw CommandFailure("\(file): it cannot be read") }
    let client = try client.client()
    var importer = Importer(client: client, onlyTenant: onlyTenant)
    do {
      try await importer.run(lines)
    } catch let error as RPCError {
      await client.close()
      throw error.forTerminal
    }
    await client.close()
    try finish(importer.report)
  }

  private func finish(_ report: ImportReport) throws {
    if !report.unknownFields.isEmpty {
      say(
        "fields that are none of an interaction were ignored: \(report.unknownFields.sorted().map { printable($0) }.joined(separator: ", "))"
      )
    }
    if client.json {
      try printJSON(report)
    } else {
      print(
        "imported \(report.imported), already there \(report.alreadyRecorded), bad \(report.bad), other tenants' \(report.otherTenants)"
      )
    }
    if report.bad > 0 { throw ExitCode(1) }
  }
}

/// What became of a file's lines.
struct ImportReport: Encodable {
  var imported = 0
  var alreadyRecorded = 0
  var bad = 0
  var otherTenants = 0
  var unknownFields: Set<String> = []
}

/// Sends a file's lines in batches, a few of them at once.
private struct Importer {
  private typealias Line = (number: Int, draft: InteractionDraft)

  private static let batchLinesMax = 500
  private static let batchBytesMax = 1 << 20
  private static let batchesAtOnce = 4

  let client: ParleyClient
  let onlyTenant: String?
  private(set) var report = ImportReport()
  /// How often each content was seen: equal lines are as many interactions.
  private var seen: [InteractionID: Int] = [:]

  init(client: ParleyClient, onlyTenant: String?) {
    self.client = client
    self.onlyTenant = onlyTenant
  }

  mutating func run(_ lines: LineReader) async throws {
    var progress = ProgressBar(total: lines.bytesTotal)
    defer { LiveLine.clear() }
    try await withThrowingTaskGroup(of: ([Line], [Result<Recorded, RPCError>]).self) { group in
      var batch: [Line] = []
      var (batchBytes, running) = (0, 0)
      func send() async throws {
        guard !batch.isEmpty else { return }
        if running == Self.batchesAtOnce, let done = try await group.next() {
          running -= 1
          count(done)
        }
        let (client, sent) = (client, batch)
        group.addTask { (sent, try await client.record(sent.map(\.draft))) }
        running += 1
        (batch, batchBytes) = ([], 0)
      }
      while let (number, text) = try lines.next() {
        progress.show(lines.bytesRead)
        guard let draft = parse(text, number) else { continue }
        let bytes = text.count
        if batch.count == Self.batchLinesMax || batchBytes + bytes > Self.batchBytesMax { try await send() }
        batch.append((number, draft))
        batchBytes += bytes
      }
      try await send()
      for try await done in group { count(done) }
    }
  }

  /// The line's interaction, with its id; nil when it is bad or not wanted.
  private mutating func parse(_ text: Data, _ number: Int) -> InteractionDraft? {
    do throws(JSONFields.Failure) {
      var (draft, tenant, unknown) = try InteractionDraft.read(text)
      report.unknownFields.formUnion(unknown)
      if let onlyTenant, tenant?.isExactly(onlyTenant) != true {
        report.otherTenants += 1
        return nil
      }
      if draft.id.isEmpty { draft.id = try contentID(&draft).description }
      try check(draft)
      return draft
    } catch {
      bad(number, error.description)
      return nil
    }
  }

  /// The service's own rules, before it is asked: a line too large to be sent at all is a bad line.
  private func check(_ draft: InteractionDraft) throws(JSONFields.Failure) {
    do {
      _ = try RecordInteraction(interaction: draft).checked(now: .now)
    } catch {
      throw JSONFields.Failure(error.message.replacingOccurrences(of: "interaction.", with: ""))
    }
  }

  private mutating func contentID(_ draft: inout InteractionDraft) throws(JSONFields.Failure) -> InteractionID {
    guard let time = draft.createdAt, time.milliseconds >= 0 else {
      throw JSONFields.Failure("created_at: is missing or before 1970; a line needs it, or an id")
    }
    let digest = SHA256.hash(data: RecordInteraction(interaction: draft).encoded())
    let text = digest.map { String($0, radix: 16) }.joined(separator: ".")
    let first = InteractionID(at: time, requestID: "import \(text)")
    let repeats = seen[first, default: 0]
    seen[first] = repeats + 1
    return repeats == 0 ? first : InteractionID(at: time, requestID: "import \(text) \(repeats)")
  }

  private mutating func count(_ done: (lines: [Line], results: [Result<Recorded, RPCError>])) {
    for (index, (line, result)) in zip(done.lines, done.results).enumerated() {
      switch result {
      case .success(let recorded):
        if recorded.alreadyRecorded { report.alreadyRecorded += 1 } else { report.imported += 1 }
      case .failure(let error):
        bad(line.number, error.message.replacingOccurrences(of: "interactions[\(index)].", with: ""))
      }
    }
  }

  private mutating func bad(_ number: Int, _ reason: String) {
    report.bad += 1
    LiveLine.clear()
    say("line \(number): \(printable(reason))")
  }
}

/// Reads lines from a file or standard input, a block at a time.
final class LineReader {
  private let handle: FileHandle
  /// Bytes read; lines up to `start` are done with, no newline stands before `unsearched`.
  private var buffer: [UInt8] = []
  private var start = 0
  private var unsearched = 0
  private var lineNumber = 0
  private var isAtEnd = false
  private(set) var bytesRead: Int64 = 0
  /// nil where it cannot be known, as of a pipe.
  let bytesTotal: Int64?

  init?(path: String) {
    if path == "-" {
      handle = .standardInput
      bytesTotal = nil
    } else {
      guard let handle = FileHandle(forReadingAtPath: path) else { return nil }
      let attributes = try? FileManager.default.attributesOfItem(atPath: path)
      guard attributes?[.type] as? FileAttributeType != .typeDirectory else { return nil }
      self.handle = handle
      bytesTotal = attributes?[.size] as? Int64
    }
  }

  /// The next line that is not blank, without its newline.
  func next() throws -> (number: Int, text: Data)? {
    while true {
      if let newline = buffer[unsearched...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Data(buffer[start..<newline])
        start = newline + 1
        unsearched = start
        if let found = found(line) { return found }
      } else if isAtEnd {
        let line = Data(buffer[start...])
        start = buffer.count
        unsearched = start
        return line.isEmpty ? nil : found(line)
      } else if let block = try handle.read(upToCount: 1 << 16), !block.isEmpty {
        buffer.removeSubrange(..<start)
        start = 0
        unsearched = buffer.count
        buffer.append(contentsOf: block)
        bytesRead += Int64(block.count)
      } else {
        unsearched = buffer.count
        isAtEnd = true
      }
    }
  }

  private func found(_ line: Data) -> (Int, Data)? {
    lineNumber += 1
    let isBlank = line.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }
    return isBlank ? nil : (lineNumber, line)
  }
}

/// A bar on a terminal's standard error; nothing anywhere else.
struct ProgressBar {
  private let total: Int64?
  private var shown = ContinuousClock.now

  init(total: Int64?) {
    self.total = total
  }

  mutating func show(_ bytes: Int64) {
    guard .now - shown > .milliseconds(100) else { return }
    shown = .now
    guard let total, total > 0 else { return LiveLine.show("\(bytes) bytes") }
    let filled = Int(min(bytes, total) * 40 / total)
    LiveLine.show(
      "[\(String(repeating: "#", count: filled))\(String(repeating: ".", count: 40 - filled))] \(bytes * 100 / total)%"
    )
  }
}
