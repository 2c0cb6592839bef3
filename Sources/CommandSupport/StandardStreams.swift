import Foundation
import Glibc

/// Standard output could not be written: what was asked for is not, or not wholly, where it was to go.
package struct OutputFailure: Error, CustomStringConvertible {
  package var number: CInt

  /// Whoever read it has gone away, as `head` does; that is no news to anybody.
  package var isReaderGone: Bool { number == EPIPE }

  package var description: String { "standard output cannot be written: \(String(cString: strerror(number)))" }
}

package enum StandardStreams {
  /// Makes the three streams safe to use. Where one was closed, its number would go to the next file or socket that
  /// is opened, and what is meant for people would be written there.
  package static func prepare() {
    // A write to a pipe that nobody reads is an error like any other.
    signal(SIGPIPE, SIG_IGN)
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
      // The lowest number that is free is this one. Opened for what it is not used for, so that its use still fails.
      _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  /// Some errors of a file come to light when it is closed.
  package static func closeOutput() throws(OutputFailure) {
    if close(STDOUT_FILENO) != 0, errno != EBADF { throw OutputFailure(number: errno) }
  }

  fileprivate static func write(_ text: String, to descriptor: CInt) throws(OutputFailure) {
    var text = text
    let number = text.withUTF8 { bytes -> CInt in
      var place = 0
      while place < bytes.count {
        let written = Glibc.write(descriptor, bytes.baseAddress! + place, bytes.count - place)
        if written >= 0 {
          place += written
        } else if errno != EINTR {
          return errno
        }
      }
      return 0
    }
    if number != 0 { throw OutputFailure(number: number) }
  }
}

/// Writes a line, or several, to standard output.
package func printLine(_ text: String) throws(OutputFailure) {
  try StandardStreams.write(text + "\n", to: STDOUT_FILENO)
}

/// A line for people, past whatever is being counted or piped on standard output. There is nobody to tell where it
/// cannot be written.
package func say(_ line: String) {
  try? StandardStreams.write(line + "\n", to: STDERR_FILENO)
}

/// A line on a terminal's standard error that the next one replaces; nothing where that is no terminal.
package enum LiveLine {
  private static let isShown = isatty(STDERR_FILENO) == 1

  package static func show(_ text: String) { write("\r\u{1B}[K\(text)") }

  /// Makes the line free for others.
  package static func clear() { write("\r\u{1B}[K") }

  private static func write(_ text: String) {
    if isShown { try? StandardStreams.write(text, to: STDERR_FILENO) }
  }
}
