import CLibpq
import Glibc
import Logging

/// How a session's thread waits for its connection's socket: until there is something to read or to write, until its
/// task is cancelled or its time is over, which stops the statement under way, or until PostgreSQL has said nothing for
/// too long.
final class SocketWait {
  /// How long a cancelled statement may take to end before its connection is given up.
  private static let cancelMax = Duration.seconds(5)
  /// PostgreSQL drops a request to cancel that comes between two statements of a pipeline, so one is sent again after
  /// this time, and after twice that, and so on.
  private static let cancelAgainMilliseconds: Int64 = 100

  /// Has the thread look whether its task was cancelled.
  private let wakeup: Wakeup
  private let silenceMax: Int64?
  private let logger: Logger
  /// When the work under way has had its time, and is stopped; by `uptimeMilliseconds`.
  private var timeLimit: Int64?
  private(set) var isPastTimeLimit = false

  /// - Parameter silenceMax: how many milliseconds PostgreSQL may say nothing; nil for ever.
  init(_ wakeup: Wakeup, silenceMax: Int64?, logger: Logger) {
    self.wakeup = wakeup
    self.silenceMax = silenceMax
    self.logger = logger
  }

  /// From now on, statements are stopped after that time.
  func beginTimeLimit(_ limit: Duration) {
    timeLimit = uptimeMilliseconds() + limit.wholeMilliseconds
  }

  func endTimeLimit() {
    (timeLimit, isPastTimeLimit) = (nil, false)
  }

  /// Waits until the socket can be read, or written if that is asked for.
  func wait(for connection: OpaquePointer, toWrite: Bool) throws(PostgresError) {
    var now = uptimeMilliseconds()
    var giveUp = silenceMax.map { now + $0 }
    var isCancelled = false
    var nextCancel = (at: Int64.max, pause: Self.cancelAgainMilliseconds)
    while true {
      let end = min(giveUp ?? .max, timeLimit ?? .max, nextCancel.at)
      let timeout = end == .max ? -1 : CInt(clamping: max(0, end - now))
      let (ready, isSocketReady) = poll(connection, toWrite: toWrite, timeout)
      let isInterrupted = ready < 0 && errno == EINTR
      now = uptimeMilliseconds()
      if isInterrupted { continue }
      let isOverdue = timeLimit.map { $0 <= now } ?? false
      if isOverdue {
        timeLimit = nil
        isPastTimeLimit = true
      }
      if !isCancelled, isOverdue || Task.isCancelled {
        isCancelled = true
        giveUp = now + Self.cancelMax.wholeMilliseconds
        nextCancel.at = now
      } else if isSocketReady {
        return
      }
      if nextCancel.at <= now {
        try cancelStatement(connection)
        nextCancel = (now + nextCancel.pause, 2 * nextCancel.pause)
      }
      if isSocketReady { return }
      if ready < 0 || giveUp.map({ $0 <= now }) ?? false {
        throw PostgresError(
          kind: .connectionLost,
          message: isCancelled ? "a cancelled statement did not end" : "PostgreSQL does not answer on this connection")
      }
    }
  }

  /// Waits for the socket, for `wakeup`, or for so long; -1 is for ever.
  private func poll(
    _ connection: OpaquePointer, toWrite: Bool, _ milliseconds: CInt
  ) -> (ready: CInt, isSocketReady: Bool) {
    var sources = (
      pollfd(fd: PQsocket(connection), events: Int16(POLLIN | (toWrite ? POLLOUT : 0)), revents: 0),
      pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0)
    )
    let ready = withUnsafeMutableBytes(of: &sources) {
      Glibc.poll($0.assumingMemoryBound(to: pollfd.self).baseAddress, 2, milliseconds)
    }
    if sources.1.revents != 0 { wakeup.drain() }
    return (ready, sources.0.revents != 0)
  }

  /// Asks PostgreSQL, over a connection of its own, to stop the statement under way. When this returns PostgreSQL has
  /// passed it on, so that it cannot stop the statement after.
  private func cancelStatement(_ connection: OpaquePointer) throws(PostgresError) {
    guard let request = CancelRequest(connection) else { return }
    switch request.send(within: Self.cancelMax) {
    case nil: throw PostgresError(kind: .connectionLost, message: "PostgreSQL does not take a request to cancel")
    case "": break
    case let reason?: logger.warning("could not cancel a statement", metadata: ["reason": "\(reason)"])
    }
  }
}

/// By a clock that is never set. Every wait looks at it, which `Duration`s would make dearer.
private func uptimeMilliseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
