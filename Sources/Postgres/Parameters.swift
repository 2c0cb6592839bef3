/// Values in PostgreSQL's binary formats, one after the other in one bytes, each behind its length in
/// four bytes (-1 for NULL): as a tuple of binary COPY has them, and a Bind message.
package struct Parameters: Equatable, Sendable {
  package private(set) var bytes: [UInt8] = []
  package private(set) var count = 0

  package init(bytesExpected: Int = 0) {
    if bytesExpected > 0 { bytes.reserveCapacity(bytesExpected) }
  }

  package mutating func add(_ value: Int16) {
    begin(byteCount: 2)
    append(value)
  }

  package mutating func add(_ value: Int32) {
    count += 1
    appendBytes(of: (UInt32(4).bigEndian, value.bigEndian))
  }

  package mutating func add(_ value: Int64) { add(UInt64(bitPattern: value)) }
  package mutating func add(_ value: Double) { add(value.bitPattern) }

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

  // MARK: Arrays

  package mutating func add(_ values: [String]) {
    addArray(of: PostgresType.text, count: values.count) { for value in values { $0.add(value) } }
  }

  package mutating func add(_ values: [Double]) {
    addArray(of: PostgresType.float8, count: values.count) { for value in values { $0.add(value) } }
  }

  package mutating func add(_ values: [Int16]) {
    addArray(of: PostgresType.int2, count: values.count) { for value in values { $0.add(value) } }
  }

  package mutating func add(_ values: [Int32]) {
    addArray(of: PostgresType.int4, count: values.count) { for value in values { $0.add(value) } }
  }

  package mutating func add(_ values: [Int64]) {
    addArray(of: PostgresType.int8, count: values.count) { for value in values { $0.add(value) } }
  }

  package mutating func add(_ values: [Bool]) {
    addArray(of: PostgresType.bool, count: values.count) { for value in values { $0.add(value) } }
  }

  package mutating func add(_ values: [[UInt8]]) {
    addArray(of: PostgresType.bytea, count: values.count) { for value in values { $0.add(value) } }
  }

  /// An array of one dimension (src/backend/utils/adt/arrayfuncs.c, array_send). (It is not generic over its elements:
  /// across a target's border, the optimizer would not compile it for each kind of them.)
  ///
  /// - Parameters:
  ///   - type: of the elements, one of `PostgresType`.
  ///   - addElements: adds so many, which stand in an array as parameters do.
  package mutating func addArray(of type: Int32, count elementCount: Int, _ addElements: (inout Parameters) -> Void) {
    begin(byteCount: 0)
    let (start, count) = (bytes.count, count)
    append(Int32(elementCount == 0 ? 0 : 1))
    append(Int32(0))
    append(type)
    if elementCount > 0 {
      append(Int32(elementCount))
      append(Int32(1))
      addElements(&self)
    }
    setByteCount(from: start - 4)
    self.count = count
  }

  private mutating func add(_ value: UInt64) {
    count += 1
    let (high, low) = (UInt32(value >> 32), UInt32(truncatingIfNeeded: value))
    appendBytes(of: (UInt32(8).bigEndian, high.bigEndian, low.bigEndian))
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

  private mutating func append(_ value: some FixedWidthInteger) { appendBytes(of: value.bigEndian) }

  /// Appends the bytes of a value or a tuple. A number and its length go together, because each append costs the same.
  private mutating func appendBytes<Values>(of values: Values) {
    withUnsafeBytes(of: values) { bytes.append(contentsOf: $0) }
  }
}
