import CommandSupport
import Dispatch
import Foundation

/// Ends the process on SIGINT or SIGTERM, after a last word on standard error, even while its threads wait for input.
final class LastWord {
  private let sources: [any DispatchSourceSignal]

  init(_ word: @escaping @Sendable () -> String) {
    let queue = DispatchQueue(label: "parley.last-word")
    sources = [SIGINT, SIGTERM].filter { !Self.isIgnored($0) }.map { number in
      let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
      source.setEventHandler {
        LiveLine.clear()
        say(word())
        _exit(128 + number)
      }
      source.resume()
      return source
    }
  }

  deinit {
    for source in sources { source.cancel() }
  }

  /// A shell has its background jobs ignore interrupts.
  private static func isIgnored(_ number: CInt) -> Bool {
    var action = sigaction()
    sigaction(number, nil, &action)
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
  }
}
