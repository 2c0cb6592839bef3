import ArgumentParser
import CommandSupport
import Foundation
import Glibc

/// `parley-bench` by another name: the load harness is no part of the server's program.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Put load on a server and measure it (runs parley-bench).")

  @Argument(parsing: .captureForPassthrough, help: "The arguments of parley-bench; see parley bench --help.")
  var arguments: [String] = []

  func run() throws {
    let program = try Self.program()
    let words = ([program] + arguments).map { strdup($0) } + [nil]
    execv(program, words)
    throw CommandFailure("\(program) cannot be run: \(String(cString: strerror(errno)))")
  }

  /// It lies beside this program.
  private static func program() throws -> String {
    let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    let program = own.deletingLastPathComponent().appendingPathComponent("parley-bench").path
    guard FileManager.default.isExecutableFile(atPath: program) else {
      throw CommandFailure(
        "parley bench is a program of its own, \(program), which is not there: put it there (swift build -c release --product parley-bench makes it)"
      )
    }
    return program
  }
}
