import Foundation

/// The file of a Unix socket a server listens on: takes the place of a dead server's, never of a live
/// one's, and is removed only while it is still this server's own.
struct UnixSocketFile {
  /// Why the path cannot be listened on.
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  let path: String
  private let inode: Int?

  /// Clears the way, lets `bind` make the file, and notes which one it is. A lock on the folder keeps
  /// two servers that start together from removing each other's.
  init<R>(path: String, mode: mode_t, bind: () async throws -> R) async throws where R: Sendable {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard lock >= 0 else {
      throw Failure(description: "unix:\(path): the folder \(folder): \(String(cString: strerror(errno)))")
    }
    defer { close(lock) }
    // Held for moments; a waiting thread is worth its simplicity at start.
    flock(lock, LOCK_EX)
    try Self.removeIfDead(path)
    _ = try await bind()
    chmod(path, mode)
    self.path = path
    self.inode = Self.attributes(of: path)?[.systemFileNumber] as? Int
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

  private static func isAnswered(_ path: String) -> Bool {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return true }
    defer { close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    // Only a refusal says that nobody listens.
    return result == 0 || errno != ECONNREFUSED
  }

  /// Of the file itself, not of what a link leads to; nil where there is none.
  private static func attributes(of path: String) -> [FileAttributeKey: Any]? {
    try? FileManager.default.attributesOfItem(atPath: path)
  }
}
