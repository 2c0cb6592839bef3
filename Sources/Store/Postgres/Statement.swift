import Domain

/// A statement that each connection prepares once, by name. Its text is a file of `SQL/`.
struct Statement: Hashable {
  let name: String
  let text: String

  init(_ name: String, _ text: [UInt8]) {
    self.name = name
    self.text = String(decoding: text, as: UTF8.self)
  }

  init(_ name: String, _ text: String) {
    self.name = name
    self.text = text
  }

  static let begin = Statement("begin", "BEGIN")
  static let commit = Statement("commit", "COMMIT")
}

/// A statement with its parameters, ready to be sent.
struct Command {
  var statement: Statement
  var parameters: Parameters

  init(_ statement: Statement, _ fill: (inout Parameters) -> Void = { _ in }) {
    self.statement = statement
    self.parameters = Parameters()
    fill(&parameters)
  }
}

/// Parameters in PostgreSQL's binary formats, one after the other in one buffer.
struct Parameters {
  private(set) var bytes: [UInt8] = []
  /// Where each ends in `bytes`; nil for NULL.
  private(set) var ends: [Int?] = []

  mutating func add(_ value: Int32) { add(bigEndian: value) }
  mutating func add(_ value: Int64) { add(bigEndian: value) }
  mutating func add(_ value: Double) { add(bigEndian: value.bitPattern) }

  mutating func add(_ value: Bool) {
    bytes.append(value ? 1 : 0)
    end()
  }

  mutating func add(_ value: String) {
    bytes.append(contentsOf: value.utf8)
    end()
  }

  mutating func add(_ value: InteractionID) {
    append(value.high)
    append(value.low)
    end()
  }

  mutating func addNull() { ends.append(nil) }

  mutating func add(_ value: Bool?) { if let value { add(value) } else { addNull() } }
  mutating func add(_ value: Double?) { if let value { add(value) } else { addNull() } }
  mutating func add(_ value: Int64?) { if let value { add(value) } else { addNull() } }
  mutating func add(_ value: String?) { if let value { add(value) } else { addNull() } }

  mutating func add(_ values: some Collection<String>) {
    addArray(values, elementType: 25) { $0.append(contentsOf: $1.utf8) }
  }

  mutating func add(_ values: some Collection<Double>) {
    addArray(values, elementType: 701) { parameters, value in
      withUnsafeBytes(of: value.bitPattern.bigEndian) { parameters.append(contentsOf: $0) }
    }
  }

  /// An array of one dimension (src/backend/utils/adt/arrayfuncs.c, array_send).
  private mutating func addArray<C: Collection>(
    _ values: C, elementType: Int32, _ write: (inout [UInt8], C.Element) -> Void
  ) {
    append(Int32(values.isEmpty ? 0 : 1))
    append(Int32(0))
    append(elementType)
    if !values.isEmpty {
      append(Int32(values.count))
      append(Int32(1))
      for value in values {
        let start = bytes.count
        append(Int32(0))
        write(&bytes, value)
        withUnsafeBytes(of: Int32(bytes.count - start - 4).bigEndian) {
          bytes.replaceSubrange(start..<start + 4, with: $0)
        }
      }
    }
    end()
  }

  private mutating func add(bigEndian value: some FixedWidthInteger) {
    append(value)
    end()
  }

  private mutating func append(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }

  private mutating func end() { ends.append(bytes.count) }
}
