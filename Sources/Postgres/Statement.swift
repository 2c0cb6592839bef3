import Domain

/// A statement that each connection prepares once, by a name that no other text has. Its text is a file of `SQL/`.
struct Statement: Hashable {
  /// The label and a hash of the text, so that another text under the same label is another statement.
  let name: String
  let text: String
  /// Whether what follows in its transaction is bound by row security.
  let entersReaderRole: Bool

  static func == (a: Self, b: Self) -> Bool { a.name == b.name }
  func hash(into hasher: inout Hasher) { hasher.combine(name) }

  init(_ label: String, _ text: [UInt8]) {
    self.init(label, String(decoding: text, as: UTF8.self))
  }

  init(_ label: String, _ text: String, entersReaderRole: Bool = false) {
    // FNV-1a: the same in every process, as a pooler's connections outlive them.
    let hash = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    name = "\(label)_\(String(hash, radix: 16))"
    self.text = text
    self.entersReaderRole = entersReaderRole
  }

  static let begin = Statement("begin", "BEGIN")
  static let commit = Statement("commit", "COMMIT")
}

/// A statement with its parameters, ready to be sent.
struct Command {
  var statement: Statement
  var parameters: Parameters

  init(_ statement: Statement, _ fill: (inout Parameters) -> Void = { _ in }) {
    self.init(statement, Parameters())
    fill(&parameters)
  }

  init(_ statement: Statement, _ parameters: Parameters) {
    self.statement = statement
    self.parameters = parameters
  }
}

/// Values in PostgreSQL's binary formats, one after the other in one buffer, each behind its length in
/// four bytes (-1 for NULL): as a tuple of binary COPY has them, and a Bind message.
struct Parameters: Equatable {
  private(set) var bytes: [UInt8] = []
  private(set) var count = 0

  init(bytesExpected: Int = 0) {
    if bytesExpected > 0 { bytes.reserveCapacity(bytesExpected) }
  }

  mutating func add(_ value: Int16) { add(bigEndian: value) }
  mutating func add(_ value: Int32) { add(bigEndian: value) }
  mutating func add(_ value: Int64) { add(bigEndian: value) }
  mutating func add(_ value: Double) { add(bigEndian: value.bitPattern) }

  mutating func add(_ value: Bool) {
    begin(byteCount: 1)
    bytes.append(value ? 1 : 0)
  }

  mutating func add(_ value: String) {
    begin(byteCount: value.utf8.count)
    bytes.append(contentsOf: value.utf8)
  }

  mutating func add(_ value: [UInt8]) {
    begin(byteCount: value.count)
    bytes.append(contentsOf: value)
  }

  mutating func add(_ value: InteractionID) {
    begin(byteCount: 16)
    append(value.high)
    append(value.low)
  }

  /// A timestamptz: microseconds since 2000-01-01.
  mutating func add(_ value: Timestamp) {
    add((value.milliseconds - Timestamp.postgresEpochMilliseconds) * 1000)
  }

  /// Puts another value in place of the first, which is an Int32 as well.
  mutating func replaceFirst(with value: Int32) {
    withUnsafeBytes(of: value.bigEndian) { bytes.replaceSubrange(4..<8, with: $0) }
  }

  mutating func append(_ others: Parameters) {
    bytes += others.bytes
    count += others.count
  }

  mutating func addNull() { begin(byteCount: -1) }

  mutating func add(_ value: Int16?) { if let value { add(value) } else { addNull() } }
  mutating func add(_ value: Int32?) { if let value { add(value) } else { addNull() } }
  mutating func add(_ value: Bool?) { if let value { add(value) } else { addNull() } }
  mutating func add(_ value: Double?) { if let value { add(value) } else { addNull() } }
  mutating func add(_ value: Int64?) { if let value { add(value) } else { addNull() } }
  mutating func add(_ value: String?) { if let value { add(value) } else { addNull() } }

  mutating func add(_ values: some Collection<String>) {
    addArray(values, elementType: 25) { $0.append(contentsOf: $1.utf8) }
  }

  mutating func add(_ values: some Collection<Double>) { addArray(values.lazy.map(\.bitPattern), elementType: 701) }
  mutating func add(_ values: some Collection<Int16>) { addArray(values, elementType: 21) }
  mutating func add(_ values: some Collection<Int32>) { addArray(values, elementType: 23) }
  mutating func add(_ values: some Collection<Int64>) { addArray(values, elementType: 20) }
  mutating func add(_ values: some Collection<Bool>) {
    addArray(values.lazy.map { $0 ? 1 as UInt8 : 0 }, elementType: 16)
  }

  mutating func add(_ values: some Collection<[UInt8]>) {
    addArray(values, elementType: 17) { $0.append(contentsOf: $1) }
  }

  mutating func add(_ values: some Collection<InteractionID>) {
    addArray(values, elementType: 2950) { parameters, id in
      withUnsafeBytes(of: id.high.bigEndian) { parameters.append(contentsOf: $0) }
      withUnsafeBytes(of: id.low.bigEndian) { parameters.append(contentsOf: $0) }
    }
  }

  private mutating func addArray(_ values: some Collection<some FixedWidthInteger>, elementType: Int32) {
    addArray(values, elementType: elementType) { bytes, value in
      withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
  }

  /// An array of one dimension (src/backend/utils/adt/arrayfuncs.c, array_send).
  private mutating func addArray<C: Collection>(
    _ values: C, elementType: Int32, _ write: (inout [UInt8], C.Element) -> Void
  ) {
    begin(byteCount: 0)
    let start = bytes.count
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
        setByteCount(from: start)
      }
    }
    setByteCount(from: start - 4)
  }

  private mutating func add(bigEndian value: some FixedWidthInteger) {
    begin(byteCount: value.bitWidth / 8)
    append(value)
  }

  private mutating func begin(byteCount: Int) {
    count += 1
    append(Int32(byteCount))
  }

  /// Writes the length of what has come since, once it is known.
  private mutating func setByteCount(from place: Int) {
    withUnsafeBytes(of: Int32(bytes.count - place - 4).bigEndian) {
      bytes.replaceSubrange(place..<place + 4, with: $0)
    }
  }

  private mutating func append(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }
}

/// Rows on their way into a table by COPY, in its binary format (PostgreSQL documentation, COPY).
struct CopyRows {
  /// The COPY statement they are for.
  let statement: String
  private(set) var bytes = Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0] + [UInt8](repeating: 0, count: 8)

  init(_ statement: String) {
    self.statement = statement
  }

  mutating func append(_ row: Parameters) {
    withUnsafeBytes(of: Int16(row.count).bigEndian) { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: row.bytes)
  }

  /// What stands after the last row.
  static let trailer: [UInt8] = [0xff, 0xff]
}
