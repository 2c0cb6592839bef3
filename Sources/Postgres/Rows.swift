import CLibpq

/// The rows a statement answered with, in binary format. Owns the libpq result.
package final class Rows: Sequence {
  private let result: OpaquePointer

  init(owning result: OpaquePointer) {
    self.result = result
  }

  deinit {
    PQclear(result)
  }

  package var count: Int { Int(PQntuples(result)) }

  /// How many rows an INSERT, UPDATE or DELETE touched.
  package var affectedCount: Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

  package func makeIterator() -> Iterator { Iterator(rows: self, end: PQntuples(result)) }

  package struct Iterator: IteratorProtocol {
    fileprivate let rows: Rows
    fileprivate var index: Int32 = 0
    fileprivate let end: Int32

    package mutating func next() -> Row? {
      guard index < end else { return nil }
      defer { index += 1 }
      return Row(rows: rows, index: index)
    }
  }

  fileprivate func value(_ row: Int32, _ column: Int) -> UnsafeRawBufferPointer? {
    guard PQgetisnull(result, row, Int32(column)) == 0 else { return nil }
    return UnsafeRawBufferPointer(
      start: PQgetvalue(result, row, Int32(column)), count: Int(PQgetlength(result, row, Int32(column))))
  }
}

/// One row. A column that is NULL or of another type than asked for is `unexpectedResponse`.
package struct Row {
  fileprivate let rows: Rows
  fileprivate let index: Int32

  package func bool(_ column: Int) throws(PostgresError) -> Bool { try integer(column, UInt8.self) != 0 }
  package func int16(_ column: Int) throws(PostgresError) -> Int16 { try integer(column) }
  package func int32(_ column: Int) throws(PostgresError) -> Int32 { try integer(column) }
  package func int64(_ column: Int) throws(PostgresError) -> Int64 { try integer(column) }
  package func double(_ column: Int) throws(PostgresError) -> Double { Double(bitPattern: try integer(column)) }
  package func isNull(_ column: Int) -> Bool { rows.value(index, column) == nil }

  package func text(_ column: Int) throws(PostgresError) -> String {
    String(decoding: try bytes(column), as: UTF8.self)
  }

  /// A uuid, by its halves.
  package func uuid(_ column: Int) throws(PostgresError) -> (high: UInt64, low: UInt64) {
    let bytes = try bytes(column)
    guard bytes.count == 16 else { throw unexpected(column) }
    return (bytes.bigEndian(at: 0), bytes.bigEndian(at: 8))
  }

  /// A timestamptz, by its milliseconds since 1970. (On the wire: microseconds since 2000.)
  package func timestampMilliseconds(_ column: Int) throws(PostgresError) -> Int64 {
    try int64(column) / 1000 + PostgresType.epochMilliseconds
  }

  package func texts(_ column: Int) throws(PostgresError) -> [String] { try texts(column) { $0 } }

  /// A NULL among them, which no server writes, is empty.
  package func texts<T>(_ column: Int, _ make: (String) -> T) throws(PostgresError) -> [T] {
    try array(column, elementType: PostgresType.text) { make(String(decoding: $0, as: UTF8.self)) }
  }

  /// A NULL among them is 0.
  package func doubles(_ column: Int) throws(PostgresError) -> [Double] {
    try array(column, elementType: PostgresType.float8) {
      $0.count == 8 ? Double(bitPattern: $0.bigEndian(at: 0)) : 0
    }
  }

  /// As long as the rows live.
  package func bytes(_ column: Int) throws(PostgresError) -> UnsafeRawBufferPointer {
    guard let value = rows.value(index, column) else { throw unexpected(column) }
    return value
  }

  private func integer<I: FixedWidthInteger>(_ column: Int, _ type: I.Type = I.self) throws(PostgresError) -> I {
    let bytes = try bytes(column)
    guard bytes.count == MemoryLayout<I>.size else { throw unexpected(column) }
    return bytes.bigEndian(at: 0)
  }

  /// The elements of an array, row after row where it has several dimensions; a NULL has no bytes.
  private func array<T>(
    _ column: Int, elementType: Int32, _ make: (UnsafeRawBufferPointer) -> T
  ) throws(PostgresError) -> [T] {
    let bytes = try bytes(column)
    guard bytes.count >= 12 else { throw unexpected(column) }
    let dimensions = bytes.bigEndian(at: 0, Int32.self)
    if dimensions == 0 { return [] }
    guard (1...6).contains(dimensions), bytes.count >= 12 + 8 * Int(dimensions),
      bytes.bigEndian(at: 8, Int32.self) == elementType
    else {
      throw unexpected(column)
    }
    var elements: [T] = []
    var place = 12 + 8 * Int(dimensions)
    // Each takes 4 bytes at least, whatever the array says that it has.
    elements.reserveCapacity(min(Int(max(bytes.bigEndian(at: 12, Int32.self), 0)), (bytes.count - place) / 4))
    while place < bytes.count {
      guard place + 4 <= bytes.count else { throw unexpected(column) }
      let size = max(Int(bytes.bigEndian(at: place, Int32.self)), 0)
      guard place + 4 + size <= bytes.count else { throw unexpected(column) }
      elements.append(make(UnsafeRawBufferPointer(rebasing: bytes[place + 4..<place + 4 + size])))
      place += 4 + size
    }
    return elements
  }

  private func unexpected(_ column: Int) -> PostgresError {
    PostgresError(kind: .unexpectedResponse, message: "column \(column) is not of its expected form")
  }
}

extension UnsafeRawBufferPointer {
  fileprivate func bigEndian<I: FixedWidthInteger>(at offset: Int, _ type: I.Type = I.self) -> I {
    I(bigEndian: loadUnaligned(fromByteOffset: offset, as: I.self))
  }
}
