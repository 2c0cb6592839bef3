import ArgumentParser
import CommandSupport
import Core

struct Parley: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "parley",
    abstract: "Records and reports conversations between AI agents and customers.",
    version: Version.current,
    subcommands: [
      Serve.self, Migrate.self, Verify.self, MintToken.self,
      Record.self, Get.self, List.self, ShowStats.self, Import.self, Bench.self,
      ShowVersion.self,
    ])
}

@main
enum Program {
  static func main() { Parley.runToEnd() }
}

struct ShowVersion: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

  func run() throws {
    try printLine("parley \(Version.current)")
  }
}
