/// Values in PostgreSQL's binary formats, one after the other in one bytes, each behind its length in
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

  // MARK: Arrays. Inlinable, so that each is compiled for the collections it is used with.

  @inlinable
  package mutating func add(_ values: some Collection<String>) {
    addArray(values, of: PostgresType.text) { $0.add($1) }
  }

  @inlinable
  package mutating func add(_ values: some Collection<Double>) {
    addArray(values, of: PostgresType.float8) { $0.add($1) }
  }

  @inlinable
  package mutating func add(_ values: some Collection<Int16>) {
    addArray(values, of: PostgresType.int2) { $0.add($1) }
  }

  @inlinable
  package mutating func add(_ values: some Collection<Int32>) {
    addArray(values, of: PostgresType.int4) { $0.add($1) }
  }

  @inlinable
  package mutating func add(_ values: some Collection<Int64>) {
    addArray(values, of: PostgresType.int8) { $0.add($1) }
  }

  @inlinable
  package mutating func add(_ values: some Collection<Bool>) {
    addArray(values, of: PostgresType.bool) { $0.add($1) }
  }

  @inlinable
  package mutating func add(_ values: some Collection<[UInt8]>) {
    addArray(values, of: PostgresType.bytea) { $0.add($1) }
  }

  /// An array of one dimension (src/backend/utils/adt/arrayfuncs.c, array_send). Its elements stand as parameters do.
  ///
  /// - Parameters:
  ///   - type: of the elements, one of `PostgresType`.
  ///   - add: adds one element.
  @inlinable
  package mutating func addArray<C: Collection>(
    _ values: C, of type: Int32, _ add: (inout Parameters, C.Element) -> Void
  ) {
    let array = beginArray(of: type, count: values.count)
    for value in values { add(&self, value) }
    endArray(array)
  }

  /// - Returns: for `endArray`, where the array begins, and how many parameters there are then.
  package mutating func beginArray(of type: Int32, count elementCount: Int) -> (place: Int, count: Int) {
    begin(byteCount: 0)
    let array = (place: bytes.count, count: count)
    append(Int32(elementCount == 0 ? 0 : 1))
    append(Int32(0))
    append(type)
    if elementCount > 0 {
      append(Int32(elementCount))
      append(Int32(1))
    }
    return array
  }

  package mutating func endArray(_ array: (place: Int, count: Int)) {
    setByteCount(from: array.place - 4)
    count = array.count
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
