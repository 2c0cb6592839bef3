import ArgumentParser
import CommandSupport
import Core
import Foundation
import ParleyClient
import Synchronization

struct Import: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Record the interactions of a file of JSON lines.",
    discussion: """
      A line has the schema's field names, with created_at (RFC 3339) or created_at_ms, token counts flat or in \
      token_usage, and estimated_cost_nanos or estimated_cost_usd. A line without an id needs a time. Its id is then \
      derived from its content, so that importing a file again, or the rest of it after an interruption, adds nothing \
      twice. Bad lines, and lines of another tenant than the token's, are reported with their numbers; the others are \
      imported. The exit status is 1 if there were any.
      """)

  @Argument(help: "The file, or - for standard input.")
  var file: String

  @Option(
    help: ArgumentHelp(
      "Import only the lines with this tenant, and record them for the token's tenant.", valueName: "name"))
  var onlyTenant: String?

  @OptionGroup var client: ClientOptions

  func run() async throws {
    let lines = try LineReader(path: file, as: file == "-" ? "standard input" : file)
    let tokenTenant = try self.client.givenToken().tenant
    let client = try self.client.client()
    let progress = ImportProgress()
    let lastWord = LastWord { "interrupted: \(progress.summary)" }
    do {
      var importer = Importer(
        client: client, tokenTenant: tokenTenant, onlyTenant: onlyTenant, progress: progress)
      try await importer.run(lines)
    } catch let error as RPCError {
      await client.close()
      say("broken off: \(progress.summary)")
      throw error.forTerminal
    }
    withExtendedLifetime(lastWord) {}
    await client.close()
    try finish(progress.report)
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
      try printLine(
        "imported \(report.imported), already there \(report.alreadyRecorded), bad \(report.bad), other tenants' \(report.otherTenants)"
      )
    }
    if report.bad > 0 { throw ExitCode(1) }
  }
}

/// What became of a file's lines, so far.
final class ImportProgress: Sendable {
  private let state = Mutex((linesRead: 0, report: ImportReport()))

  var report: ImportReport { state.withLock { $0.report } }

  func count(_ change: (inout ImportReport) -> Void) { state.withLock { change(&$0.report) } }

  func countLine() { state.withLock { $0.linesRead += 1 } }

  /// For an import that did not come to its end.
  var summary: String {
    state.withLock { state in
      let report = state.report
      let open = state.linesRead - report.imported - report.alreadyRecorded - report.bad - report.otherTenants
      return
        "of \(state.linesRead) lines read, \(report.imported) were imported, \(report.alreadyRecorded) were already there, \(report.bad) were bad and \(open) may have been imported; import the same lines again to go on: nothing is added twice"
    }
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
