package import ArgumentParser
import Glibc

extension AsyncParsableCommand {
  /// Parses and runs a command. What it prints has been written when its status is 0.
  package static func runToEnd() async -> Never {
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
