import CLibpq
import Glibc

/// One connection of libpq that was made, and is lost at some time. Owns it.
///
/// It is non-blocking for libpq, and waits by a `SocketWait`.
final class LibpqConnection {
  private let connection: OpaquePointer
  private let wait: SocketWait

  /// - Parameter keywords: libpq's; of two of the same name the later counts.
  init(_ keywords: [(String, String)], _ wait: SocketWait) throws(PostgresError) {
    let names = keywords.map { strdup($0.0) } + [nil]
    let values = keywords.map { strdup($0.1) } + [nil]
    defer { for text in names + values { free(text) } }
    let connection = PQconnectdbParams(names.map { UnsafePointer($0) }, values.map { UnsafePointer($0) }, 1)
    guard let connection, PQstatus(connection) == CONNECTION_OK else {
      let error = Self.lost(connection)
      PQfinish(connection)
      throw error
    }
    PQsetnonblocking(connection, 1)
    PQsetNoticeProcessor(connection, { _, _ in }, nil)
    self.connection = connection
    self.wait = wait
  }

  deinit {
    PQfinish(connection)
  }

  // MARK: State

  var isOpen: Bool { PQstatus(connection) == CONNECTION_OK }
  var isInTransaction: Bool { PQtransactionStatus(connection) != PQTRANS_IDLE }
  /// The transaction under way can only be rolled back.
  var isTransactionFailed: Bool { PQtransactionStatus(connection) == PQTRANS_INERROR }
  /// The process that PostgreSQL, or a pooler before it, has named for the connection.
  var processID: CInt { PQbackendPID(connection) }

  // MARK: Statements as text

  /// - Returns: the rows of the last statement; nil is NULL.
  @discardableResult
  func query(_ text: String) throws(PostgresError) -> [[String?]] {
    try sendQuery(text)
    var refusal: PostgresError?
    var rows: [[String?]] = []
    while let result = try nextResultOrEnd() {
      if PQresultStatus(result) == PGRES_FATAL_ERROR { refusal = refusal ?? Self.error(of: result) }
      rows = texts(of: result)
      PQclear(result)
    }
    if let refusal { throw refusal }
    return rows
  }

  func sendQuery(_ text: String) throws(PostgresError) { try check(PQsendQuery(connection, text)) }

  private func texts(of result: OpaquePointer) -> [[String?]] {
    (0..<PQntuples(result)).map { row in
      (0..<PQnfields(result)).map { column in
        PQgetisnull(result, row, column) == 1 ? nil : String(cString: PQgetvalue(result, row, column))
      }
    }
  }

  // MARK: Pipelines

  func enterPipeline() throws(PostgresError) { try check(PQenterPipelineMode(connection)) }
  func exitPipeline() throws(PostgresError) { try check(PQexitPipelineMode(connection)) }
  func sendSync() throws(PostgresError) { try check(PQpipelineSync(connection)) }

  /// The results of the statement that comes next are given row by row.
  func takeRowByRow() { PQsetSingleRowMode(connection) }

  func sendPrepare(_ statement: Statement) throws(PostgresError) {
    try check(PQsendPrepare(connection, statement.name, statement.text, 0, nil))
  }

  func sendDeallocate(_ statement: Statement) throws(PostgresError) {
    try check(PQsendQueryParams(connection, "DEALLOCATE \"\(statement.name)\"", 0, nil, nil, nil, nil, 1))
  }

  /// - Parameter byName: the statement is prepared.
  func send(_ command: Command, byName: Bool) throws(PostgresError) {
    let parameters = command.parameters
    let binary = [CInt](repeating: 1, count: parameters.count)
    let sent = parameters.bytes.withUnsafeBytes { bytes in
      var values: [UnsafePointer<CChar>?] = []
      var lengths: [CInt] = []
      values.reserveCapacity(binary.count)
      lengths.reserveCapacity(binary.count)
      var place = 0
      for _ in binary {
        let length = CInt(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: Int32.self)))
        // A NULL is a null pointer.
        values.append(length < 0 ? nil : (bytes.baseAddress! + place + 4).assumingMemoryBound(to: CChar.self))
        lengths.append(max(length, 0))
        place += 4 + Int(max(length, 0))
      }
      return byName
        ? PQsendQueryPrepared(connection, command.statement.name, CInt(binary.count), values, lengths, binary, 1)
        : PQsendQueryParams(connection, command.statement.text, CInt(binary.count), nil, values, lengths, binary, 1)
    }
    try check(sent)
  }

  // MARK: COPY

  /// Sends the bytes of a COPY in pieces, each flushed, for libpq never gives back a buffer that has grown.
  func sendCopyData(_ bytes: [UInt8]) throws(PostgresError) {
    let pieceBytes = 64 * 1024
    var start = 0
    while start < bytes.count {
      let count = min(pieceBytes, bytes.count - start)
      let sent = bytes.withUnsafeBytes {
        PQputCopyData(connection, ($0.baseAddress! + start).assumingMemoryBound(to: CChar.self), CInt(count))
      }
      try check(sent)
      start += count
      try flush()
    }
  }

  func sendCopyEnd() throws(PostgresError) { try check(PQputCopyEnd(connection, nil)) }

  private func flush() throws(PostgresError) {
    while true {
      switch PQflush(connection) {
      case 0: return
      case 1:
        try wait.wait(for: connection, toWrite: true)
        guard PQconsumeInput(connection) == 1 else { throw Self.lost(connection) }
      default: throw Self.lost(connection)
      }
    }
  }

  // MARK: Results

  /// The caller's, to be cleared.
  func nextResult() throws(PostgresError) -> OpaquePointer {
    guard let result = try nextResultOrEnd() else {
      throw PostgresError(kind: .unexpectedResponse, message: "an answer is missing")
    }
    return result
  }

  func expectEnd() throws(PostgresError) {
    if let extra = try nextResultOrEnd() {
      PQclear(extra)
      throw PostgresError(kind: .unexpectedResponse, message: "an answer too many")
    }
  }

  func nextResultOrEnd() throws(PostgresError) -> OpaquePointer? {
    var unsent = PQflush(connection)
    while unsent == 1 || PQisBusy(connection) == 1 {
      guard unsent >= 0 else { throw Self.lost(connection) }
      try wait.wait(for: connection, toWrite: unsent == 1)
      guard PQconsumeInput(connection) == 1 else { throw Self.lost(connection) }
      if unsent == 1 { unsent = PQflush(connection) }
    }
    guard let result = PQgetResult(connection) else {
      if !isOpen { throw Self.lost(connection) }
      return nil
    }
    if PQresultStatus(result) == PGRES_FATAL_ERROR, !isOpen {
      PQclear(result)
      throw Self.lost(connection)
    }
    return result
  }

  // MARK: Errors

  private func check(_ succeeded: CInt) throws(PostgresError) {
    if succeeded != 1 { throw Self.lost(connection) }
  }

  private static func lost(_ connection: OpaquePointer?) -> PostgresError {
    PostgresError(kind: .connectionLost, message: oneLine(PQerrorMessage(connection)))
  }

  /// What PostgreSQL refused.
  static func error(of result: OpaquePointer?) -> PostgresError {
    // PG_DIAG_SQLSTATE (C), _SOURCE_FUNCTION (R), _SEVERITY (S) and _MESSAGE_PRIMARY (M). The words are in whatever language
    // the server speaks.
    func field(_ code: UnicodeScalar) -> String {
      PQresultErrorField(result, CInt(code.value)).map { String(cString: $0) } ?? ""
    }
    // The details of a row that is refused are the row's values, which no log is to have.
    let sqlState = field("C")
    let isOfData = ["22", "23"].contains(sqlState.prefix(2))
    let message = isOfData ? "\(field("S")):  \(field("M"))" : oneLine(PQresultErrorMessage(result))
    // The coordinator of Citus passes on what another node refused: of a statement with its SQLSTATE, of a COPY without.
    return PostgresError(
      kind: .refused(sqlState: sqlState), message: message,
      isPartitionMissing: sqlState == "23514" && field("R") == "ExecFindPartition",
      mayMissPartition: sqlState == "23514" && field("R") == "ReportResultError",
      isStateLost: field("R") == "ReportCopyError")
  }
}

/// Whether a server at that URL takes connections.
package func isAnswering(url: String) -> Bool { PQping(url) == PQPING_OK }

/// libpq breaks its messages into lines, some of them indented.
func oneLine(_ text: UnsafePointer<CChar>?) -> String {
  guard let text else { return "" }
  return String(cString: text).split { $0 == "\n" || $0 == "\t" }.joined(separator: " ")
}
