package import Foundation

/// Reads lines from a file or standard input, a block at a time.
package final class LineReader {
  private let file: ReadableFile
  /// Bytes read; lines up to `start` are done with, no newline stands before `unsearched`.
  private var buffer: [UInt8] = []
  private var start = 0
  private var unsearched = 0
  private var lineNumber = 0
  private var isAtEnd = false
  package private(set) var bytesRead: Int64 = 0
  /// nil where it cannot be known, as of a pipe.
  package var bytesTotal: Int64? { file.size }

  package init(path: String, as name: String) throws {
    file = path == "-" ? .standardInput : try ReadableFile(path, as: name)
  }

  /// The next line that is not blank, without its newline.
  package func next() throws -> (number: Int, text: Data)? {
    while true {
      if let newline = buffer[unsearched...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Data(buffer[start..<newline])
        start = newline + 1
        unsearched = start
        if let found = found(line) { return found }
      } else if isAtEnd {
        let line = Data(buffer[start...])
        start = buffer.count
        unsearched = start
        return line.isEmpty ? nil : found(line)
      } else if case let block = try file.block(bytesMax: 1 << 16), !block.isEmpty {
        buffer.removeSubrange(..<start)
        start = 0
        unsearched = buffer.count
        buffer.append(contentsOf: block)
        bytesRead += Int64(block.count)
      } else {
        unsearched = buffer.count
        isAtEnd = true
      }
    }
  }

  private func found(_ line: Data) -> (Int, Data)? {
    lineNumber += 1
    let isBlank = line.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }
    return isBlank ? nil : (lineNumber, line)
  }
}
