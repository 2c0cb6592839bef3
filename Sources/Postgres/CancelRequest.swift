import CLibpq
import Foundation
import Synchronization

/// Asks PostgreSQL to stop a connection's statement. libpq waits for the end of the request without a bound, so a
/// thread of its own does, which a PostgreSQL that does not answer may keep until it does.
final class CancelRequest: @unchecked Sendable {  // `done` orders the two threads' accesses to the rest.
  private let cancel: OpaquePointer
  private let done = DispatchSemaphore(value: 0)
  private let outcome = Mutex<String?>(nil)

  /// nil where there is no connection.
  init?(_ connection: OpaquePointer) {
    guard let cancel = PQgetCancel(connection) else { return nil }
    self.cancel = cancel
  }

  deinit {
    PQfreeCancel(cancel)
  }

  /// - Returns: why it could not be sent, or nothing where it was; nil where its end is not known in time.
  func send(within limit: Duration) -> String? {
    let thread = Thread { [self] in
      var reason = [CChar](repeating: 0, count: 256)
      let isSent = PQcancel(cancel, &reason, CInt(reason.count)) == 1
      let text = String(decoding: reason.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
      outcome.withLock { $0 = isSent ? "" : text }
      done.signal()
    }
    thread.name = "pg-cancel"
    thread.stackSize = 256 * 1024
    thread.start()
    _ = done.wait(timeout: .now() + .milliseconds(Int(limit.wholeMilliseconds)))
    return outcome.withLock { $0 }
  }
}
