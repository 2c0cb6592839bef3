/// Rows on their way into a table by COPY, in its binary format (PostgreSQL documentation, COPY).
package struct CopyRows {
  /// The COPY statement they are for.
  package let statement: String
  private(set) var bytes = Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0] + [UInt8](repeating: 0, count: 8)

  package init(_ statement: String) {
    self.statement = statement
  }

  package mutating func append(_ row: Parameters) {
    withUnsafeBytes(of: Int16(row.count).bigEndian) { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: row.bytes)
  }

  /// What stands after the last row.
  static let trailer: [UInt8] = [0xff, 0xff]
}
