import Glibc

/// A folder that one process at a time works in. The kernel gives the lock back when the process ends,
/// however it ends.
final class DirectoryLock: Sendable {
  private let descriptor: CInt

  init(_ directory: String) throws {
    let path = directory + "/lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw PrivateCluster.Failure(description: "\(path): \(String(cString: strerror(errno)))")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      throw PrivateCluster.Failure(
        description: "another parley serves from \(directory); stop it or choose another --data")
    }
  }

  deinit {
    close(descriptor)
  }
}
