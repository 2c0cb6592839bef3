package import Foundation

/// A file that a flag names, or standard input, open to be read; what hinders that is told in the system's words.
package struct ReadableFile {
  private let handle: FileHandle
  private let name: String
  /// nil where it is not known beforehand, as of a pipe.
  package let size: Int64?

  /// - Parameter name: the file as its user knows it, such as by the flag it was given with.
  package init(_ path: String, as name: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Self.failure(name, errno) }
    handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    self.name = name
    // A folder opens, and tells by the first read that it is none of what can be read.
    guard read(descriptor, nil, 0) == 0 else { throw Self.failure(name, errno) }
    let end = lseek(descriptor, 0, SEEK_END)
    size = end > 0 ? Int64(end) : nil
    lseek(descriptor, 0, SEEK_SET)
  }

  private init(_ handle: FileHandle, as name: String) {
    self.handle = handle
    self.name = name
    size = nil
  }

  package static var standardInput: ReadableFile { ReadableFile(.standardInput, as: "standard input") }

  /// What comes next, of at most so many bytes; empty at the end.
  package func block(bytesMax: Int) throws -> Data {
    var block = Data(count: bytesMax)
    while true {
      let count = block.withUnsafeMutableBytes { read(handle.fileDescriptor, $0.baseAddress, bytesMax) }
      if count >= 0 { return block.prefix(count) }
      guard errno == EINTR else { throw Self.failure(name, errno) }
    }
  }

  package func contents() throws -> Data {
    var contents = Data()
    while case let block = try block(bytesMax: 1 << 16), !block.isEmpty { contents.append(block) }
    return contents
  }

  /// As UTF-8; what is none shows as U+FFFD, which no token and no key holds.
  package func text() throws -> String { String(decoding: try contents(), as: UTF8.self) }

  private static func failure(_ name: String, _ code: CInt) -> CommandFailure {
    CommandFailure("\(name) cannot be read: \(String(cString: strerror(code)))")
  }
}
