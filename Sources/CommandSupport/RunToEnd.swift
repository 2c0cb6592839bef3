package import ArgumentParser
import Dispatch
import Glibc

extension AsyncParsableCommand {
  /// Parses and runs a command, as the whole of a program. An async `main` would begin when Dispatch has opened files of
  /// its own, which have the number of a standard stream where one is closed.
  package static func runToEnd() -> Never {
    StandardStreams.prepare()
    Task { await parseAndRun() }
    dispatchMain()
  }

  /// What it prints has been written when its status is 0.
  private static func parseAndRun() async -> Never {
    var status: CInt = 0
    do {
      if let mistake = ArgumentText.mistake { throw CommandFailure(mistake) }
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
