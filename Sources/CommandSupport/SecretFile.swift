import Auth
import Foundation
import RPC

/// The file with the secret of HS256 tokens: read by the server, and by whoever mints tokens.
package struct SecretFile {
  package var path: String

  package init(path: String) {
    self.path = path
  }

  /// Where a server with a data folder and no other key keeps its own.
  package init(data: String) {
    path = data + "/jwt.secret"
  }

  package func secret() throws -> [UInt8] {
    let bytes = try ReadableFile(path, as: "the secret file \(path)").contents()
    do {
      return try TokenVerifier.Key.secret(fileBytes: Array(bytes))
    } catch {
      throw CommandFailure("the secret file \(path) \(error)")
    }
  }

  /// - Returns: whether it was made now.
  package func makeIfAbsent() throws -> Bool {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      if errno == EEXIST { return false }
      throw CommandFailure("the secret file \(path): \(String(cString: strerror(errno)))")
    }
    let secret =
      (0..<4).map { _ in UInt64.random(in: .min ... .max) }
      .map { word in String(repeating: "0", count: word.leadingZeroBitCount / 4) + String(word, radix: 16) }
      .joined() + "\n"
    let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    try handle.write(contentsOf: Data(secret.utf8))
    try handle.synchronize()
    return true
  }
}
