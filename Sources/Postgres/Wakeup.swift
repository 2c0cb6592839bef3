import Glibc
import Synchronization

/// Wakes a thread that waits in `poll`: a pipe with a byte in it. Owns both its ends.
///
/// Where no file descriptors are left for a pipe, it is made when it is asked for again; until then nothing is woken,
/// and a statement that is given up ends by its time in PostgreSQL.
final class Wakeup: Sendable {
  private struct Pipe {
    var readEnd: CInt
    var writeEnd: CInt
  }

  private let pipe = Mutex(Wakeup.makePipe())

  deinit {
    pipe.withLock { pipe in
      guard let pipe else { return }
      close(pipe.readEnd)
      close(pipe.writeEnd)
    }
  }

  /// Readable once `signal()` was called, until `drain()`; -1, which `poll` passes over, where there is no pipe.
  var descriptor: CInt {
    pipe.withLock { pipe in
      if pipe == nil { pipe = Self.makePipe() }
      return pipe?.readEnd ?? -1
    }
  }

  /// A full pipe wakes as well, so a write that fails changes nothing.
  func signal() {
    pipe.withLock { pipe in
      guard let pipe else { return }
      _ = withUnsafeBytes(of: UInt8(1)) { write(pipe.writeEnd, $0.baseAddress, 1) }
    }
  }

  func drain() {
    let readEnd = descriptor
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
      while read(readEnd, buffer.baseAddress, buffer.count) > 0 {}
    }
  }

  private static func makePipe() -> Pipe? {
    var ends: [CInt] = [0, 0]
    guard Glibc.pipe(&ends) == 0 else { return nil }
    for end in ends {
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
    }
    return Pipe(readEnd: ends[0], writeEnd: ends[1])
  }
}
