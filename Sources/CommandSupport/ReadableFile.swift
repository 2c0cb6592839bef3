package import Foundation

/// A file that a flag names, open to be read; what hinders that is told in the system's words.
package struct ReadableFile {
  package let handle: FileHandle
  /// nil where it is not known beforehand, as of a pipe.
  package let size: Int64?

  /// - Parameter name: the file as its user knows it, such as by the flag it was given with.
  package init(_ path: String, as name: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Self.failure(name, errno) }
    handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    // A folder opens, and tells by the first read that it is none of what can be read.
    guard read(descriptor, nil, 0) == 0 else { throw Self.failure(name, errno) }
    let end = lseek(descriptor, 0, SEEK_END)
    size = end > 0 ? Int64(end) : nil
    lseek(descriptor, 0, SEEK_SET)
  }

  package func contents() throws -> Data { try handle.readToEnd() ?? Data() }

  /// As UTF-8; what is none shows as U+FFFD, which no token and no key holds.
  package func text() throws -> String { String(decoding: try contents(), as: UTF8.self) }

  private static func failure(_ name: String, _ code: CInt) -> CommandFailure {
    CommandFailure("\(name) cannot be read: \(String(cString: strerror(code)))")
  }
}
