import CPostgres
import Domain
import Glibc
import Logging

/// One connection to PostgreSQL, on a thread of its own where waiting is free.
///
/// It owns the libpq connection and opens it when it is needed: at first, and again when it was lost,
/// no sooner than a growing pause after the last failure. Statements go out in one pipeline with their
/// parameters in binary. When the task it works for is cancelled, it asks PostgreSQL to cancel the
/// statement and still waits for its end, so that the connection is in order afterwards.
actor PostgresConnection {
  /// What a connection is for decides how it is set up.
  enum Purpose: String {
    /// As the owner of the tables.
    case owner
    /// In transactions that take, first of all, the role that owns nothing and that row security binds.
    case reader
  }

  struct Configuration: Sendable {
    /// A connection URI or keyword string, as libpq reads it.
    var url: String
    /// The longest a statement may run. PostgreSQL sees to it; zero for no limit.
    var statementTimeout: Duration = .seconds(30)
    /// How much longer PostgreSQL may say nothing before its connection is given up: it may have stopped, or its host.
    var grace: Duration = .seconds(5)
    var preparedStatements = PreparedStatements.auto

    /// As SQL, for the transaction under way alone or for the session.
    fileprivate func settings(of purpose: Purpose, isLocal: Bool) -> String {
      var settings = [
        ("statement_timeout", "\(statementTimeout.wholeMilliseconds)"),
        ("idle_in_transaction_session_timeout", "60000"),
      ]
      // A transaction with settings of its own begins with what it is.
      if purpose == .reader {
        settings += Plan.readerDefaults + (isLocal ? [] : [("default_transaction_isolation", "repeatable read")])
      }
      return """
        SELECT
          -- An answer means durable, whatever the server's default is, or becomes while the session lasts.
          set_config(
            'synchronous_commit',
            CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END,
            \(isLocal)),
          num_nonnulls(\(settings.map { "set_config('\($0)', '\($1)', \(isLocal))" }.joined(separator: ", ")))
        """
    }

    /// In milliseconds; nil for ever.
    fileprivate var silenceMax: Int64? { statementTimeout > .zero ? (statementTimeout + grace).wholeMilliseconds : nil }
  }

  private let configuration: Configuration
  private let purpose: Purpose
  private let logger: Logger
  private let executor: ThreadExecutor
  /// Has the thread look whether its task was cancelled.
  private nonisolated let wakeup = Wakeup()

  // Unsafe in name only: `deinit`, which no actor isolates, is the one place outside the actor.
  private nonisolated(unsafe) var connection: OpaquePointer?
  private var prepared: Set<Statement> = []
  /// A pooler lies between: the next transaction may be another session's, so a session keeps nothing.
  private(set) var isPooled = false
  /// What a transaction begins with behind a pooler.
  private let transactionSettings: Statement
  private let silenceMax: Int64?
  /// When the work under way has had its time, and is stopped; by `uptimeMilliseconds`.
  private var timeLimit: Int64?
  private var isPastTimeLimit = false
  /// Why there is no connection, while the next try is not due.
  private var lastFailure = ""
  private var backoff = Backoff(from: .milliseconds(50), to: .seconds(5))

  /// For tasks that are about this connection alone, whose steps then wake no other thread.
  nonisolated var taskExecutor: some TaskExecutor { executor.tasks }

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  init(_ configuration: Configuration, purpose: Purpose, logger: Logger) {
    self.configuration = configuration
    self.purpose = purpose
    self.logger = logger
    self.silenceMax = configuration.silenceMax
    self.transactionSettings = Statement("settings", configuration.settings(of: purpose, isLocal: true))
    self.executor = ThreadExecutor(name: "pg-\(purpose.rawValue)")
  }

  deinit {
    PQfinish(connection)
  }

  /// Runs `body` on the connection's thread. Cancelling the task cancels the statement under way.
  nonisolated(nonsending) func run<R: Sendable>(
    _ body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) async -> Result<R, PostgresError> {
    await withTaskCancellationHandler {
      await perform(body)
    } onCancel: {
      wakeup.signal()
    }
  }

  /// The same for what can be done again: where the connection or its statements were lost, or may only read, it is
  /// tried once more.
  nonisolated(nonsending) func runRepeatable<R: Sendable>(
    _ body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) async -> Result<R, PostgresError> {
    let result = await run(body)
    if case .failure(let error) = result,
      error.isConnectionLost || error.isPreparedStatementStale || error.isReadOnly
    {
      return await run(body)
    }
    return result
  }

  /// Runs `body` for no longer than that.
  ///
  /// - Returns: nil where it took longer; then it was stopped.
  func within<R>(
    _ limit: Duration, _ body: (isolated PostgresConnection) throws(PostgresError) -> R
  ) throws(PostgresError) -> R? {
    timeLimit = uptimeMilliseconds() + limit.wholeMilliseconds
    defer { (timeLimit, isPastTimeLimit) = (nil, false) }
    do throws(PostgresError) {
      return try body(self)
    } catch {
      guard isPastTimeLimit, error.isStatementCancelled, !Task.isCancelled else { throw error }
      return nil
    }
  }

  /// Runs `body` on the connection's thread, and again after whatever it waits for.
  func stay<R: Sendable>(_ body: @Sendable (isolated PostgresConnection) async -> R) async -> R { await body(self) }

  private func perform<R: Sendable>(
    _ body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) -> Result<R, PostgresError> {
    Result { () throws(PostgresError) in
      if Task.isCancelled {
        throw PostgresError(kind: .cancelled, message: "cancelled before it began")
      }
      do throws(PostgresError) {
        return try body(self)
      } catch {
        // PostgreSQL tells a cancelled statement from one that took too long by nothing.
        guard error.isStatementCancelled, Task.isCancelled else { throw error }
        throw PostgresError(kind: .cancelled, message: error.message)
      }
    }
  }

  // MARK: Statements

  /// Sends the commands together and answers with the rows of each. They are one transaction, unless
  /// they begin and commit their own. The first refusal is thrown; then none has taken effect.
  func pipeline(_ commands: [Command]) throws(PostgresError) -> [Rows] {
    var answers: [Rows] = []
    answers.reserveCapacity(commands.count)
    try pipeline(commands) { (_, rows) throws(PostgresError) in answers.append(rows) }
    return answers
  }

  /// The same, giving `take` the rows of each command, and its place among them, while PostgreSQL works on the next.
  /// What it was given counts only if this does not throw.
  ///
  /// - Parameter rowByRow: each row is given alone, as it comes, so that no more than one is in memory; then none.
  func pipeline(
    _ commands: [Command], rowByRow: Bool = false, _ take: (Int, Rows) throws(PostgresError) -> Void
  ) throws(PostgresError) {
    let connection = try open()
    if isPastTimeLimit {
      throw PostgresError(kind: .refused(sqlState: "57014"), message: "the time for this work is over")
    }
    do throws(PostgresError) {
      try checkRole(before: commands)
      var refusal: PostgresError?
      try check(PQenterPipelineMode(connection))
      let (commands, settingsPlace) = withSettings(commands)
      let expected = try send(commands, on: connection)
      for (index, isPrepare) in expected {
        let place = index - (settingsPlace.map { $0 < index ? 1 : 0 } ?? 0)
        if rowByRow, !isPrepare { PQsetSingleRowMode(connection) }
        var result = try nextResult(connection)
        while PQresultStatus(result) == PGRES_SINGLE_TUPLE {
          let row = Rows(owning: result)
          if index != settingsPlace { try take(place, row) }
          result = try nextResult(connection)
        }
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK:
          if isPrepare { prepared.insert(commands[index].statement) }
          let rows = Rows(owning: result)
          if !isPrepare, index != settingsPlace { try take(place, rows) }
        case PGRES_PIPELINE_ABORTED:
          PQclear(result)
        default:
          refusal = refusal ?? error(of: result)
          PQclear(result)
        }
        try expectEnd(connection)
      }
      try expectSync(connection)
      try check(PQexitPipelineMode(connection))
      if let refusal {
        // A transaction that the commands began themselves is still open, and dead.
        if PQtransactionStatus(connection) == PQTRANS_INERROR { try script("ROLLBACK") }
        throw refusal
      }
    } catch {
      closeUnlessInOrder(after: error)
      throw error
    }
  }

  func run(_ command: Command) throws(PostgresError) -> Rows {
    try pipeline([command])[0]
  }

  /// Runs `body` in a transaction that the commands begin: it commits when `body` returns, and is rolled
  /// back when it throws.
  func inTransaction<R>(
    _ begin: [Command], body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    try inTransaction(begin) { (connection, _) throws(PostgresError) in try body(connection) }
  }

  /// The same, with what the commands answered.
  func inTransaction<R>(
    _ begin: [Command], body: (isolated PostgresConnection, [Rows]) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    let begun = try pipeline(begin)
    do throws(PostgresError) {
      let result = try body(self, begun)
      // A refusal that `body` caught has ended it.
      if PQtransactionStatus(connection) != PQTRANS_IDLE { _ = try run(Command(.commit)) }
      return result
    } catch {
      if let connection, PQtransactionStatus(connection) != PQTRANS_IDLE {
        do throws(PostgresError) { try script("ROLLBACK") } catch { close() }
      }
      throw error
    }
  }

  /// Runs SQL text, which may hold several statements: they are one transaction unless it says otherwise.
  ///
  /// - Returns: the rows of the last statement, as text; nil is NULL.
  @discardableResult
  func script(_ text: String) throws(PostgresError) -> [[String?]] {
    let connection = try open()
    do throws(PostgresError) {
      try checkRole(before: [])
      return try query(text, on: connection)
    } catch {
      closeUnlessInOrder(after: error)
      throw error
    }
  }

  @discardableResult
  private func query(_ text: String, on connection: OpaquePointer) throws(PostgresError) -> [[String?]] {
    guard PQsendQuery(connection, text) == 1 else { throw lost(connection) }
    var refusal: PostgresError?
    var rows: [[String?]] = []
    while let result = try nextResultOrEnd(connection) {
      if PQresultStatus(result) == PGRES_FATAL_ERROR { refusal = refusal ?? error(of: result) }
      rows = texts(of: result)
      PQclear(result)
    }
    if let refusal { throw refusal }
    return rows
  }

  private func texts(of result: OpaquePointer) -> [[String?]] {
    (0..<PQntuples(result)).map { row in
      (0..<PQnfields(result)).map { column in
        PQgetisnull(result, row, column) == 1 ? nil : String(cString: PQgetvalue(result, row, column))
      }
    }
  }

  /// Copies the rows into their tables, in one transaction that begins with that SQL, and that has committed when this
  /// returns.
  func copy(_ tables: [CopyRows], after begin: String) throws(PostgresError) {
    let connection = try open()
    do throws(PostgresError) {
      // Commands sent together are one transaction; the COMMIT says when it ends.
      let begin = ["BEGIN"] + (isPooled ? [transactionSettings.text] : []) + [begin]
      let text = (begin + tables.map(\.statement) + ["COMMIT"]).joined(separator: ";\n")
      guard PQsendQuery(connection, text) == 1 else { throw lost(connection) }
      var remaining = tables.makeIterator()
      var refusal: PostgresError?
      var hasCommitted = false
      while let result = try nextResultOrEnd(connection) {
        let status = PQresultStatus(result)
        if status == PGRES_FATAL_ERROR { refusal = refusal ?? error(of: result) }
        hasCommitted = status == PGRES_COMMAND_OK && String(cString: PQcmdStatus(result)) == "COMMIT"
        PQclear(result)
        if status == PGRES_COPY_IN, let rows = remaining.next() { try send(rows, on: connection) }
      }
      if let refusal {
        if PQtransactionStatus(connection) == PQTRANS_INERROR { try script("ROLLBACK") }
        throw refusal
      }
      guard hasCommitted else {
        throw PostgresError(kind: .unexpectedAnswer, message: "a COPY ended without COMMIT")
      }
    } catch {
      closeUnlessInOrder(after: error)
      throw error
    }
  }

  private func send(_ rows: CopyRows, on connection: OpaquePointer) throws(PostgresError) {
    // In pieces, each flushed, for libpq never gives back a buffer that has grown.
    let pieceBytes = 64 * 1024
    for bytes in [rows.bytes, CopyRows.trailer] {
      var start = 0
      while start < bytes.count {
        let count = min(pieceBytes, bytes.count - start)
        let sent = bytes.withUnsafeBytes {
          PQputCopyData(
            connection, ($0.baseAddress! + start).assumingMemoryBound(to: CChar.self), CInt(count))
        }
        try check(sent)
        start += count
        try flush(connection)
      }
    }
    try check(PQputCopyEnd(connection, nil))
  }

  private func flush(_ connection: OpaquePointer) throws(PostgresError) {
    while true {
      switch PQflush(connection) {
      case 0: return
      case 1:
        try waitForSocket(connection, toWrite: true)
        guard PQconsumeInput(connection) == 1 else { throw lost(connection) }
      default: throw lost(connection)
      }
    }
  }

  /// A refusal leaves the connection in order; anything else leaves it unknown. And a server that may only be
  /// read may have become so, or another, since the connection was made.
  private func closeUnlessInOrder(after error: PostgresError) {
    if case .refused(let sqlState) = error.kind, sqlState != "25006", !error.isPreparedStatementStale,
      PQstatus(connection) == CONNECTION_OK
    {
      return
    }
    close()
  }

  func close() {
    PQfinish(connection)
    connection = nil
    prepared = []
  }

  /// A reader's transaction takes the reader's role before anything else: outside of one it would read as the owner.
  private func checkRole(before commands: [Command]) throws(PostgresError) {
    guard purpose == .reader, PQtransactionStatus(connection) == PQTRANS_IDLE,
      !commands.prefix(2).contains(where: \.statement.entersReaderRole)
    else { return }
    throw PostgresError(kind: .unexpectedAnswer, message: "a reader's statement is outside of a reading transaction")
  }

  /// Behind a pooler, a transaction begins with its settings.
  ///
  /// - Returns: the commands to send, and the place of the one that was added.
  private func withSettings(_ commands: [Command]) -> ([Command], Int?) {
    guard isPooled, let first = commands.first, PQtransactionStatus(connection) == PQTRANS_IDLE else {
      return (commands, nil)
    }
    let place = [.begin, .beginRepeatableRead].contains(first.statement) ? 1 : 0
    return (commands[..<place] + [Command(transactionSettings)] + commands[place...], place)
  }

  /// What is expected back, in order: of which command, and whether it is its preparation.
  private func send(
    _ commands: [Command], on connection: OpaquePointer
  ) throws(PostgresError) -> [(index: Int, isPrepare: Bool)] {
    var expected: [(Int, Bool)] = []
    expected.reserveCapacity(commands.count + 2)
    var preparing: Set<Statement> = []
    for (index, command) in commands.enumerated() {
      let statement = command.statement
      if isNaming, !prepared.contains(statement), preparing.insert(statement).inserted {
        try check(PQsendPrepare(connection, statement.name, statement.text, 0, nil))
        expected.append((index, true))
      }
      try check(send(command, on: connection))
      expected.append((index, false))
    }
    try check(PQpipelineSync(connection))
    return expected
  }

  private var isNaming: Bool {
    switch configuration.preparedStatements {
    case .on: true
    case .off: false
    case .auto: !isPooled
    }
  }

  private func send(_ command: Command, on connection: OpaquePointer) -> CInt {
    let parameters = command.parameters
    let binary = [CInt](repeating: 1, count: parameters.count)
    return parameters.bytes.withUnsafeBytes { bytes in
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
      return isNaming
        ? PQsendQueryPrepared(connection, command.statement.name, CInt(binary.count), values, lengths, binary, 1)
        : PQsendQueryParams(connection, command.statement.text, CInt(binary.count), nil, values, lengths, binary, 1)
    }
  }

  // MARK: Waiting

  private func nextResult(_ connection: OpaquePointer) throws(PostgresError) -> OpaquePointer {
    guard let result = try nextResultOrEnd(connection) else {
      throw PostgresError(kind: .unexpectedAnswer, message: "an answer is missing")
    }
    return result
  }

  private func expectEnd(_ connection: OpaquePointer) throws(PostgresError) {
    if let extra = try nextResultOrEnd(connection) {
      PQclear(extra)
      throw PostgresError(kind: .unexpectedAnswer, message: "an answer too many")
    }
  }

  /// The end of a pipeline, where its transaction commits if it is one without BEGIN.
  private func expectSync(_ connection: OpaquePointer) throws(PostgresError) {
    let result = try nextResult(connection)
    defer { PQclear(result) }
    guard PQresultStatus(result) == PGRES_PIPELINE_SYNC else {
      let refusal = error(of: result)
      close()
      throw refusal
    }
  }

  private func nextResultOrEnd(_ connection: OpaquePointer) throws(PostgresError) -> OpaquePointer? {
    var unsent = PQflush(connection)
    while unsent == 1 || PQisBusy(connection) == 1 {
      guard unsent >= 0 else { throw lost(connection) }
      try waitForSocket(connection, toWrite: unsent == 1)
      guard PQconsumeInput(connection) == 1 else { throw lost(connection) }
      if unsent == 1 { unsent = PQflush(connection) }
    }
    guard let result = PQgetResult(connection) else {
      if PQstatus(connection) != CONNECTION_OK { throw lost(connection) }
      return nil
    }
    if PQresultStatus(result) == PGRES_FATAL_ERROR, PQstatus(connection) != CONNECTION_OK {
      PQclear(result)
      throw lost(connection)
    }
    return result
  }

  /// How long a cancelled statement may take to end before its connection is given up.
  private static let cancelMax = Duration.seconds(5)

  private func waitForSocket(_ connection: OpaquePointer, toWrite: Bool) throws(PostgresError) {
    var now = uptimeMilliseconds()
    var giveUp = silenceMax.map { now + $0 }
    var isCancelled = false
    while true {
      let end = min(giveUp ?? .max, timeLimit ?? .max)
      let timeout = end == .max ? -1 : CInt(clamping: max(0, end - now))
      let (ready, isSocketReady) = poll(connection, toWrite: toWrite, timeout)
      let isInterrupted = ready < 0 && errno == EINTR
      now = uptimeMilliseconds()
      if isInterrupted { continue }
      let isOverdue = timeLimit.map { $0 <= now } ?? false
      if isOverdue {
        timeLimit = nil
        isPastTimeLimit = true
      }
      if !isCancelled, isOverdue || Task.isCancelled {
        isCancelled = true
        giveUp = now + Self.cancelMax.wholeMilliseconds
        try cancelStatement(connection)
      }
      if isSocketReady { return }
      if ready < 0 || giveUp.map({ $0 <= now }) ?? false {
        throw PostgresError(
          kind: .connectionLost,
          message: isCancelled ? "a cancelled statement did not end" : "PostgreSQL does not answer on this connection")
      }
    }
  }

  /// Waits for the socket, for `wakeup`, or for so long; -1 is for ever.
  private func poll(
    _ connection: OpaquePointer, toWrite: Bool, _ milliseconds: CInt
  ) -> (ready: CInt, isSocketReady: Bool) {
    var sources = (
      pollfd(fd: PQsocket(connection), events: Int16(POLLIN | (toWrite ? POLLOUT : 0)), revents: 0),
      pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0)
    )
    let ready = withUnsafeMutableBytes(of: &sources) {
      Glibc.poll($0.assumingMemoryBound(to: pollfd.self).baseAddress, 2, milliseconds)
    }
    if sources.1.revents != 0 { wakeup.drain() }
    return (ready, sources.0.revents != 0)
  }

  /// Asks PostgreSQL, over a connection of its own, to stop the statement under way. When this returns PostgreSQL has
  /// passed it on, so that it cannot stop the statement after.
  private func cancelStatement(_ connection: OpaquePointer) throws(PostgresError) {
    guard let request = CancelRequest(connection) else { return }
    switch request.send(within: Self.cancelMax) {
    case nil: throw PostgresError(kind: .connectionLost, message: "PostgreSQL does not take a request to cancel")
    case "": break
    case let reason?: logger.warning("could not cancel a statement", metadata: ["reason": "\(reason)"])
    }
  }

  // MARK: Opening

  var isOpen: Bool { connection != nil && PQstatus(connection) == CONNECTION_OK }

  /// The connection, made anew where there is none.
  func open() throws(PostgresError) -> OpaquePointer {
    if let connection {
      if PQstatus(connection) == CONNECTION_OK { return connection }
      close()
    }
    guard backoff.mayTry else {
      throw PostgresError(kind: .connectionLost, message: lastFailure)
    }
    do throws(PostgresError) {
      let opened = try connect()
      backoff.succeeded()
      connection = opened
      return opened
    } catch {
      backoff.failed()
      lastFailure = error.message
      logger.warning("no connection to PostgreSQL", metadata: ["reason": "\(error.message)"])
      throw error
    }
  }

  private func connect() throws(PostgresError) -> OpaquePointer {
    // What the operator's own URL says comes later and so wins.
    let settings = [
      ("connect_timeout", "5"), ("keepalives_idle", "30"), ("keepalives_interval", "10"),
      ("tcp_user_timeout", "20000"), ("application_name", "parley \(purpose.rawValue)"),
      ("dbname", configuration.url), ("client_encoding", "UTF8"),
    ]
    let keywords = settings.map { strdup($0.0) } + [nil]
    let values = settings.map { strdup($0.1) } + [nil]
    defer { for text in keywords + values { free(text) } }
    let connection = PQconnectdbParams(
      keywords.map { UnsafePointer($0) }, values.map { UnsafePointer($0) }, 1)
    guard let connection, PQstatus(connection) == CONNECTION_OK else {
      let error = lost(connection)
      PQfinish(connection)
      throw error
    }
    PQsetnonblocking(connection, 1)
    PQsetNoticeProcessor(connection, { _, _ in }, nil)
    do throws(PostgresError) {
      let backend = try query("SELECT pg_backend_pid()", on: connection).first?.first ?? ""
      isPooled = backend != "\(PQbackendPID(connection))"
      if !isPooled { try query(configuration.settings(of: purpose, isLocal: false), on: connection) }
    } catch {
      PQfinish(connection)
      throw error
    }
    return connection
  }

  // MARK: Errors

  private func check(_ succeeded: CInt) throws(PostgresError) {
    if succeeded != 1 { throw lost(connection) }
  }

  private func lost(_ connection: OpaquePointer?) -> PostgresError {
    PostgresError(kind: .connectionLost, message: oneLine(PQerrorMessage(connection)))
  }

  private func error(of result: OpaquePointer?) -> PostgresError {
    // PG_DIAG_SQLSTATE and PG_DIAG_SOURCE_FUNCTION; the words are in whatever language the server speaks.
    func field(_ code: UnicodeScalar) -> String {
      PQresultErrorField(result, CInt(code.value)).map { String(cString: $0) } ?? ""
    }
    return PostgresError(
      kind: .refused(sqlState: field("C")), message: oneLine(PQresultErrorMessage(result)),
      isPartitionMissing: field("C") == "23514" && field("R") == "ExecFindPartition")
  }
}

private func oneLine(_ text: UnsafePointer<CChar>?) -> String {
  guard let text else { return "" }
  return String(cString: text).split(separator: "\n").joined(separator: " ")
}

/// By a clock that is never set. Every wait looks at it, which `Duration`s would make dearer.
private func uptimeMilliseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

extension Duration {
  var wholeMilliseconds: Int64 {
    components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
  }
}
