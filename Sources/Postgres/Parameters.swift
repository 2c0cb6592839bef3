/// Values in PostgreSQL's binary formats, one after the other in one buffer, each behind its length in
/// four bytes (-1 for NULL): as a tuple of binary COPY has them, and a Bind message.
package struct Parameters: Equatable, Sendable {
  package private(set) var bytes: [UInt8] = []
  package private(set) var count = 0

  package init(bytesExpected: Int = 0) {
    if bytesExpected > 0 { bytes.reserveCapacity(bytesExpected) }
  }

  package mutating func add(_ value: Int16) { add(bigEndian: value) }
  package mutating func add(_ value: Int32) { add(bigEndian: value) }
  package mutating func add(_ value: Int64) { add(bigEndian: value) }
  package mutating func add(_ value: Double) { add(bigEndian: value.bitPattern) }

  package mutating func add(_ value: Bool) {
    begin(byteCount: 1)
    bytes.append(value ? 1 : 0)
  }

  package mutating func add(_ value: String) {
    begin(byteCount: value.utf8.count)
    bytes.append(contentsOf: value.utf8)
  }

  package mutating func add(_ value: [UInt8]) {
    begin(byteCount: value.count)
    bytes.append(contentsOf: value)
  }

  /// A uuid, by its halves.
  package mutating func addUUID(high: UInt64, low: UInt64) {
    begin(byteCount: 16)
    append(high)
    append(low)
  }

  /// A timestamptz, by its milliseconds since 1970. (On the wire: microseconds since 2000.)
  package mutating func addTimestamp(milliseconds: Int64) {
    add((milliseconds - PostgresType.epochMilliseconds) * 1000)
  }

  /// Puts another value in place of the first, which is an Int32 as well.
  package mutating func replaceFirst(with value: Int32) {
    withUnsafeBytes(of: value.bigEndian) { bytes.replaceSubrange(4..<8, with: $0) }
  }

  package mutating func append(_ others: Parameters) {
    bytes += others.bytes
    count += others.count
  }

  package mutating func addNull() { begin(byteCount: -1) }

  package mutating func add(_ value: Int16?) { if let value { add(value) } else { addNull() } }
  package mutating func add(_ value: Int32?) { if let value { add(value) } else { addNull() } }
  package mutating func add(_ value: Bool?) { if let value { add(value) } else { addNull() } }
  package mutating func add(_ value: Double?) { if let value { add(value) } else { addNull() } }
  package mutating func add(_ value: Int64?) { if let value { add(value) } else { addNull() } }
  package mutating func add(_ value: String?) { if let value { add(value) } else { addNull() } }

  package mutating func add(_ values: some Collection<String>) {
    addArray(values, elementType: PostgresType.text) { $0.append(contentsOf: $1.utf8) }
  }

  package mutating func add(_ values: some Collection<Double>) {
    addArray(values.lazy.map(\.bitPattern), elementType: PostgresType.float8)
  }
  package mutating func add(_ values: some Collection<Int16>) { addArray(values, elementType: PostgresType.int2) }
  package mutating func add(_ values: some Collection<Int32>) { addArray(values, elementType: PostgresType.int4) }
  package mutating func add(_ values: some Collection<Int64>) { addArray(values, elementType: PostgresType.int8) }
  package mutating func add(_ values: some Collection<Bool>) {
    addArray(values.lazy.map { $0 ? 1 as UInt8 : 0 }, elementType: PostgresType.bool)
  }

  package mutating func add(_ values: some Collection<[UInt8]>) {
    addArray(values, elementType: PostgresType.bytea) { $0.append(contentsOf: $1) }
  }

  private mutating func addArray(_ values: some Collection<some FixedWidthInteger>, elementType: Int32) {
    addArray(values, elementType: elementType) { bytes, value in
      withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
  }

  /// An array of one dimension (src/backend/utils/adt/arrayfuncs.c, array_send).
  ///
  /// - Parameters:
  ///   - elementType: one of `PostgresType`.
  ///   - write: appends an element in its binary format.
  package mutating func addArray<C: Collection>(
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
