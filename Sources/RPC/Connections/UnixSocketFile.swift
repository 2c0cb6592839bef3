import Foundation

/// The file of a Unix socket a server listens on: takes the place of a dead server's, never of a live
/// one's, and is removed only while it is still this server's own.
package struct UnixSocketFile {
  /// Why the path cannot be listened on.
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  let path: String
  private let inode: Int?

  /// Clears the way and binds a socket to the path, noting which file that made. A lock on the folder
  /// keeps two servers that start together from removing each other's.
  ///
  /// - Returns: the file, and the bound socket, which is the caller's to listen on and to close. (NIO
  ///   would remove whatever is at the path when it closes a socket it had bound itself.)
  static func bind(path: String, mode: mode_t) throws(Failure) -> (file: UnixSocketFile, socket: CInt) {
    func failure(_ what: String) -> Failure {
      Failure(description: "unix:\(path): \(what): \(String(cString: strerror(errno)))")
    }
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard lock >= 0 else { throw failure("the folder \(folder)") }
    defer { close(lock) }
    flock(lock, LOCK_EX)
    try removeIfDead(path)
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw failure("a socket") }
    // Before anybody listens on it, so nobody comes in by the permissions it was made with.
    guard withAddress(of: path, { Foundation.bind(descriptor, $0, $1) }) == 0, chmod(path, mode) == 0 else {
      defer { close(descriptor) }
      throw failure("it cannot be made")
    }
    return (UnixSocketFile(path: path, inode: attributes(of: path)?[.systemFileNumber] as? Int), descriptor)
  }

  func remove() {
    if let inode, Self.attributes(of: path)?[.systemFileNumber] as? Int == inode { unlink(path) }
  }

  private static func removeIfDead(_ path: String) throws(Failure) {
    guard let attributes = Self.attributes(of: path) else { return }
    guard attributes[.type] as? FileAttributeType == .typeSocket else {
      throw Failure(
        description: "unix:\(path): a file that is no socket is in the way; remove it or choose another path")
    }
    guard !isAnswered(path) else {
      throw Failure(description: "unix:\(path): another server listens there; stop it or choose another path")
    }
    unlink(path)
  }

  /// Somebody listens there, or might: only a refusal says that nobody does.
  package static func isAnswered(_ path: String) -> Bool {
    // A live server whose queue is full would have a blocking connect wait.
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { return true }
    defer { close(descriptor) }
    let result = withAddress(of: path) { connect(descriptor, $0, $1) }
    return result == 0 || errno != ECONNREFUSED
  }

  private static func withAddress(
    of path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
  ) -> CInt {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }

  /// Of the file itself, not of what a link leads to; nil where there is none.
  private static func attributes(of path: String) -> [FileAttributeKey: Any]? {
    try? FileManager.default.attributesOfItem(atPath: path)
  }
}
