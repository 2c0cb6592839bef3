import CLibpq

/// Why a reference figure could not be measured, in PostgreSQL's words.
public struct ReferenceFailure: Error, CustomStringConvertible {
  public var description: String
}

/// One connection to PostgreSQL that waits for every response. Owns it; used on one thread.
final class ReferenceSession {
  private let connection: OpaquePointer

  init(_ url: String) throws(ReferenceFailure) {
    guard let connection = PQconnectdb(url) else { throw ReferenceFailure(description: "libpq has no memory") }
    self.connection = connection
    guard PQstatus(connection) == CONNECTION_OK else { throw failure() }
    // Notices of what is dropped are no news.
    try run("SET client_min_messages = warning; SET search_path = \(ReferenceTable.schema)")
  }

  deinit { PQfinish(connection) }

  private func failure() -> ReferenceFailure {
    ReferenceFailure(
      description:
        "PostgreSQL: \(String(cString: PQerrorMessage(connection)).split(separator: "\n").joined(separator: " "))")
  }

  /// The result, checked and thrown away, but for how many rows it has.
  @discardableResult
  private func check(_ result: OpaquePointer?, _ expected: ExecStatusType...) throws(ReferenceFailure) -> Int {
    defer { PQclear(result) }
    guard expected.contains(PQresultStatus(result)) else { throw failure() }
    return Int(PQntuples(result))
  }

  /// Runs SQL text, which may hold several statements.
  func run(_ sql: String) throws(ReferenceFailure) {
    try check(PQexec(connection, sql), PGRES_COMMAND_OK, PGRES_TUPLES_OK)
  }

  func prepare(_ name: String, _ sql: String) throws(ReferenceFailure) {
    try check(PQprepare(connection, name, sql, 0, nil), PGRES_COMMAND_OK)
  }

  /// Runs a prepared statement, all of it in binary.
  ///
  /// - Parameter fields: the parameters, each after its length in four bytes, as in a tuple of COPY.
  /// - Returns: how many rows came back.
  func execute(_ name: String, _ fields: TupleFields, count: Int) throws(ReferenceFailure) -> Int {
    try fields.bytes.withUnsafeBufferPointer { (fields) throws(ReferenceFailure) in
      try execute(name, UnsafeRawBufferPointer(fields), count: count)
    }
  }

  private func execute(
    _ name: String, _ fields: UnsafeRawBufferPointer, count: Int
  ) throws(ReferenceFailure) -> Int {
    var values: [UnsafePointer<CChar>?] = []
    var lengths: [CInt] = []
    values.reserveCapacity(count)
    lengths.reserveCapacity(count)
    var place = 0
    for _ in 0..<count {
      let length = Int32(bigEndian: fields.loadUnaligned(fromByteOffset: place, as: Int32.self))
      values.append((fields.baseAddress! + place + 4).assumingMemoryBound(to: CChar.self))
      lengths.append(length)
      place += 4 + Int(length)
    }
    let binary = [CInt](repeating: 1, count: count)
    return try check(
      PQexecPrepared(connection, name, CInt(count), values, lengths, binary, 1), PGRES_COMMAND_OK, PGRES_TUPLES_OK)
  }

  /// One COPY, committed by itself.
  func copy(_ sql: String, _ tuples: TupleFields) throws(ReferenceFailure) {
    try check(PQexec(connection, sql), PGRES_COPY_IN)
    let isSent = tuples.bytes.withUnsafeBytes { bytes in
      PQputCopyData(connection, bytes.assumingMemoryBound(to: CChar.self).baseAddress, CInt(bytes.count)) == 1
    }
    guard isSent, PQputCopyEnd(connection, nil) == 1 else { throw failure() }
    try check(PQgetResult(connection), PGRES_COMMAND_OK)
    // The end of the command.
    PQclear(PQgetResult(connection))
  }
}
