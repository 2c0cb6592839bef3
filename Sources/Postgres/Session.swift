import CLibpq
import Logging

/// A connection's statements, one after the other: everything that an owner may do. It is used on one thread.
///
/// It opens the connection when it is needed: at first, and again when it was lost, no sooner than a growing pause after
/// the last failure. Statements go out in one pipeline with their parameters in binary. When the task it works for is
/// cancelled, it asks PostgreSQL to cancel the statement and still waits for its end, so that the connection is in order
/// afterwards.
package final class Session: StatementRunner {
  /// What a session is for decides how it is set up.
  package enum Role: String {
    /// As the owner of the tables.
    case owner
    /// In transactions that begin with a `ReadFence`.
    case reader
  }

  private let configuration: ConnectionConfiguration
  private let role: Role
  private let logger: Logger
  private let wait: SocketWait
  private var connection: LibpqConnection?
  private var prepared = PreparedSet()
  /// A pooler lies between: the next transaction may be another session's, so a session keeps nothing.
  package private(set) var isPooled = false
  /// The tables are distributed over other nodes: what a transaction sets for itself reaches them only from within BEGIN
  /// and COMMIT, and a statement is best about one tenant.
  package var isDistributed: Bool {
    get throws(PostgresError) {
      try open()
      return hasDistributedTables
    }
  }
  private var hasDistributedTables = false
  /// What a transaction begins with behind a pooler.
  private let transactionSettings: Statement
  /// Why there is no connection, while the next try is not due.
  private var lastFailure = ""
  private var backoff = Backoff(from: .milliseconds(50), to: .seconds(5))

  init(_ configuration: ConnectionConfiguration, _ role: Role, _ wakeup: Wakeup, logger: Logger) {
    self.configuration = configuration
    self.role = role
    self.logger = logger
    wait = SocketWait(wakeup, silenceMax: configuration.silenceMax, logger: logger)
    transactionSettings = Statement("settings", configuration.settings(of: role, isLocal: true))
  }

  // MARK: Statements

  package func pipeline(
    _ commands: [Command], _ take: (Int, Rows) throws(PostgresError) -> Void
  ) throws(PostgresError) {
    let connection = try opened()
    if wait.isPastTimeLimit {
      throw PostgresError(kind: .refused(sqlState: "57014"), message: "the time for this work is over")
    }
    do throws(PostgresError) {
      var refusal: PostgresError?
      try connection.enterPipeline()
      let (commands, settingsPlace) = withSettings(commands, on: connection)
      let expected = try send(commands, on: connection)
      for (index, kind) in expected {
        let place = index - (settingsPlace.map { $0 < index ? 1 : 0 } ?? 0)
        if kind == .rows, commands[index].isReadRowByRow { connection.takeRowByRow() }
        var result = try connection.nextResult()
        while PQresultStatus(result) == PGRES_SINGLE_TUPLE {
          let row = Rows(owning: result)
          if index != settingsPlace { try take(place, row) }
          result = try connection.nextResult()
        }
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK:
          let rows = Rows(owning: result)
          switch kind {
          case .prepared: prepared.insert(commands[index].statement)
          case .deallocated(let statement): prepared.remove(statement)
          case .rows: if index != settingsPlace { try take(place, rows) }
          }
        case PGRES_PIPELINE_ABORTED:
          PQclear(result)
        default:
          refusal = refusal ?? LibpqConnection.error(of: result)
          PQclear(result)
        }
        try connection.expectEnd()
      }
      try expectSync(connection)
      try connection.exitPipeline()
      if let refusal {
        // A transaction that the commands began themselves is still open, and dead.
        if connection.isTransactionFailed { try script("ROLLBACK") }
        throw refusal
      }
    } catch {
      closeUnlessInOrder(after: error)
      throw error
    }
  }

  /// Runs `body` in a transaction that the commands begin: it commits when `body` returns, and is rolled
  /// back when it throws.
  package func inTransaction<R>(
    _ begin: [Command], _ body: (Session) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    try inTransaction(begin, { (_, _) in }, body)
  }

  /// The same with the rows of each of the commands, which `take` is given, and its place among them.
  package func inTransaction<R>(
    _ begin: [Command], _ take: (Int, Rows) throws(PostgresError) -> Void,
    _ body: (Session) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    do throws(PostgresError) {
      try pipeline(begin, take)
      let result = try body(self)
      // A refusal that `body` caught has ended it, or the last of its statements has.
      if isInTransaction { _ = try run(Command(.commit)) }
      return result
    } catch {
      if isInTransaction {
        do throws(PostgresError) { try script("ROLLBACK") } catch { close() }
      }
      throw error
    }
  }

  var isInTransaction: Bool { connection?.isInTransaction ?? false }

  /// Runs SQL text, which may hold several statements: they are one transaction unless it says otherwise.
  ///
  /// - Returns: the rows of the last statement, as text; nil is NULL.
  @discardableResult
  package func script(_ text: String) throws(PostgresError) -> [[String?]] {
    let connection = try opened()
    do throws(PostgresError) {
      return try connection.query(text)
    } catch {
      closeUnlessInOrder(after: error)
      throw error
    }
  }

  /// Copies the rows into their tables, in one transaction that begins with that SQL, and that has committed when this
  /// returns.
  package func copy(_ tables: [CopyRows], after begin: String) throws(PostgresError) {
    let connection = try opened()
    do throws(PostgresError) {
      // Commands sent together are one transaction; the COMMIT says when it ends.
      let begin = ["BEGIN"] + (isPooled ? [transactionSettings.text] : []) + [begin]
      try connection.sendQuery((begin + tables.map(\.statement) + ["COMMIT"]).joined(separator: ";\n"))
      var remaining = tables.makeIterator()
      var refusal: PostgresError?
      var hasCommitted = false
      while let result = try connection.nextResultOrEnd() {
        let status = PQresultStatus(result)
        if status == PGRES_FATAL_ERROR { refusal = refusal ?? LibpqConnection.error(of: result) }
        hasCommitted = status == PGRES_COMMAND_OK && String(cString: PQcmdStatus(result)) == "COMMIT"
        PQclear(result)
        if status == PGRES_COPY_IN, let rows = remaining.next() {
          try connection.sendCopyData(rows.bytes)
          try connection.sendCopyData(CopyRows.trailer)
          try connection.sendCopyEnd()
        }
      }
      if let refusal {
        if connection.isTransactionFailed { try script("ROLLBACK") }
        throw refusal
      }
      guard hasCommitted else {
        throw PostgresError(kind: .unexpectedResponse, message: "a COPY ended without COMMIT")
      }
    } catch {
      closeUnlessInOrder(after: error)
      throw error
    }
  }

  /// Runs `body` for no longer than that.
  ///
  /// - Returns: nil where it took longer; then it was stopped.
  package func within<R>(
    _ limit: Duration, _ body: (Session) throws(PostgresError) -> R
  ) throws(PostgresError) -> R? {
    wait.beginTimeLimit(limit)
    defer { wait.endTimeLimit() }
    do throws(PostgresError) {
      return try body(self)
    } catch {
      guard wait.isPastTimeLimit, error.isStatementCancelled, !Task.isCancelled else { throw error }
      return nil
    }
  }

  // MARK: Sending

  /// Behind a pooler, a transaction begins with its settings.
  ///
  /// - Returns: the commands to send, and the place of the one that was added.
  private func withSettings(_ commands: [Command], on connection: LibpqConnection) -> ([Command], Int?) {
    guard isPooled, let first = commands.first, !connection.isInTransaction else { return (commands, nil) }
    let place = [.begin, .beginRepeatableRead].contains(first.statement) ? 1 : 0
    return (commands[..<place] + [Command(transactionSettings)] + commands[place...], place)
  }

  /// What PostgreSQL says of a command.
  private enum Expected: Equatable {
    case prepared
    /// Another statement was, to make room.
    case deallocated(Statement)
    case rows
  }

  /// What is expected back, in order, and of which command.
  private func send(
    _ commands: [Command], on connection: LibpqConnection
  ) throws(PostgresError) -> [(index: Int, kind: Expected)] {
    var expected: [(Int, Expected)] = []
    expected.reserveCapacity(commands.count + 2)
    var preparing: Set<Statement> = []
    let isNaming = isNaming
    for (index, command) in commands.enumerated() {
      let statement = command.statement
      if isNaming, !prepared.contains(statement), preparing.insert(statement).inserted {
        try connection.sendPrepare(statement)
        expected.append((index, .prepared))
      }
      try connection.send(command, byName: isNaming)
      expected.append((index, .rows))
      if isNaming { prepared.markSent(statement) }
    }
    // A pooler has names of its own for them, and sees to their number.
    while !isPooled, let surplus = prepared.takeSurplus() {
      try connection.sendDeallocate(surplus)
      expected.append((commands.count - 1, .deallocated(surplus)))
    }
    try connection.sendSync()
    return expected
  }

  private var isNaming: Bool {
    switch configuration.preparedStatements {
    case .on: true
    case .off: false
    case .auto: !isPooled
    }
  }

  /// The end of a pipeline, where its transaction commits if it is one without BEGIN.
  private func expectSync(_ connection: LibpqConnection) throws(PostgresError) {
    let result = try connection.nextResult()
    defer { PQclear(result) }
    guard PQresultStatus(result) == PGRES_PIPELINE_SYNC else {
      let refusal = LibpqConnection.error(of: result)
      close()
      throw refusal
    }
  }

  // MARK: Opening and closing

  package var isOpen: Bool { connection?.isOpen ?? false }

  /// Makes the connection where there is none.
  package func open() throws(PostgresError) { _ = try opened() }

  package func close() {
    connection = nil
    prepared = PreparedSet()
  }

  /// A refusal leaves the connection in order; anything else leaves it unknown. And a server that may only be
  /// read may have become so, or another, since the connection was made.
  private func closeUnlessInOrder(after error: PostgresError) {
    if case .refused = error.kind, !error.isReadOnly, !error.isPreparedStatementStale, isOpen { return }
    close()
  }

  private func opened() throws(PostgresError) -> LibpqConnection {
    if let connection {
      if connection.isOpen { return connection }
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

  private func connect() throws(PostgresError) -> LibpqConnection {
    let connection = try LibpqConnection(configuration.keywords(of: role), wait)
    let answer = try connection.query(configuration.sessionQuery).first ?? []
    isPooled = answer.first != "\(connection.processID)"
    hasDistributedTables = answer.last == "t"
    if !isPooled { try connection.query(configuration.settings(of: role, isLocal: false)) }
    return connection
  }
}
