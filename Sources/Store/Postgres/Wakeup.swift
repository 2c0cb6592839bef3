import Glibc

/// Wakes a thread that waits in `poll`: a pipe with a byte in it. Owns both its ends.
final class Wakeup: Sendable {
  /// Readable once `signal()` was called, until `drain()`.
  let descriptor: CInt
  private let writeEnd: CInt

  init() {
    var ends: [CInt] = [0, 0]
    precondition(pipe(&ends) == 0, "no file descriptors are left for a pipe")
    for end in ends {
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
    }
    (descriptor, writeEnd) = (ends[0], ends[1])
  }

  deinit {
    close(descriptor)
    close(writeEnd)
  }

  /// A full pipe wakes as well, so a write that fails changes nothing.
  func signal() {
    _ = withUnsafeBytes(of: UInt8(1)) { write(writeEnd, $0.baseAddress, 1) }
  }

  func drain() {
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
      while read(descriptor, buffer.baseAddress, buffer.count) > 0 {}
    }
  }
}
