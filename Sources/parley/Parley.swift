import ArgumentParser
import Domain
import Glibc

@main
struct Parley: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "parley",
    abstract: "Records what AI agents say to customers and answers for it.",
    version: Version.current,
    subcommands: [
      Serve.self, Migrate.self, Verify.self, MintToken.self,
      Record.self, Get.self, List.self, ShowStats.self, Import.self, BenchCommand.self,
      ShowVersion.self,
    ])

  /// Parses and runs a command. What it prints has been written when its status is 0.
  static func main() async {
    StandardStreams.prepare()
    var status: CInt = 0
    do {
      var command = try await asyncParseAsRoot()
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch {
      status = end(with: error)
    }
    do { try StandardStreams.closeOutput() } catch { if status == 0 { status = end(with: error) } }
    Glibc.exit(status)
  }

  /// Tells the error, or the help that was asked for.
  private static func end(with error: any Error) -> CInt {
    if let failure = error as? OutputFailure, failure.isReaderGone { return 1 }
    let (code, text) = (exitCode(for: error), fullMessage(for: error))
    guard !text.isEmpty else { return code.rawValue }
    guard code.isSuccess else {
      say(text)
      return code.rawValue
    }
    do {
      try printLine(text)
      return 0
    } catch {
      return end(with: error)
    }
  }
}

struct ShowVersion: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

  func run() throws {
    try printLine("parley \(Version.current)")
  }
}
