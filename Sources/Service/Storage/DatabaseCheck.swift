import Core
public import Logging
public import Postgres

/// Whether a server can work with a database. What cannot work is refused before the first call, in one sentence that
/// says how to mend it, instead of failing call by call.
public struct DatabaseCheck: Sendable {
  /// Why a server cannot work with the database.
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
    /// PostgreSQL was not there; it may be soon.
    public var isConnectionLost = false
  }

  /// The oldest PostgreSQL that every test runs on. (Migrations need at least 14, for the bodies of SQL functions.)
  private static let oldestVersion: Int32 = 15

  private let configuration: ConnectionConfiguration
  private let owner: OwnerConnection
  private let reader: ReaderConnection
  private let logger: Logger
  private let prepared: PreparedCheck?

  /// - Parameter preparedStatements: how the server is to prepare them.
  public init(url: String, preparedStatements: PreparedStatements = .auto, logger: Logger) {
    configuration = ConnectionConfiguration(url: url, readLockMax: .milliseconds(Limits.readLockMillisecondsMax))
    owner = OwnerConnection(configuration, logger: logger)
    reader = ReaderConnection(configuration, logger: logger)
    self.logger = logger
    prepared = preparedStatements == .on ? PreparedCheck(url: url, logger: logger) : nil
  }

  /// What must be so before anything is written. Throws `Failure`.
  public func checkBeforeMigrating() async throws {
    let found = await owner.runRepeatable { (connection) throws(PostgresError) in
      try DatabaseProperties(connection.run(Command(.databaseCheck)))
    }
    if case .failure(let error) = found, error.isConnectionLost { try await checkConnection() }
    let database = try answer(found)
    guard database.version >= Self.oldestVersion * 10_000 else {
      throw Failure(
        description: "PostgreSQL is version \(database.versionName), and parley needs \(Self.oldestVersion) or later")
    }
    guard database.encoding == "UTF8" else {
      throw Failure(
        description:
          "the database \(database.name) is encoded in \(database.encoding), which cannot hold every text; create one with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
      )
    }
    guard database.isRowSecurityOn else {
      throw Failure(
        description:
          "row_security is off for the user \(database.user), so that every read would fail; \(database.rowSecurityReset.map { "run: \($0)" } ?? "take it out of the connection string's options or of postgresql.conf")"
      )
    }
    guard database.hasSchema || !database.isReadOnly else {
      throw Failure(
        description:
          "the database \(database.name) is read-only and has no schema of parley's yet, which cannot be made in it; connect to the primary, or run: ALTER DATABASE \(database.name) RESET default_transaction_read_only"
      )
    }
    if database.isReadOnly {
      logger.warning("the database is read-only, a standby perhaps: nothing can be recorded until it is writable")
    }
    try await checkTransactions()
  }

  /// Throws where PostgreSQL refuses the connection for a reason that waiting does not mend.
  private func checkConnection() async throws {
    let refusal = await owner.run { [configuration] (_) throws(PostgresError) in ConnectionRefusal(configuration) }
    switch try answer(refusal) {
    case nil: return
    case .unreadableURL(let message)?:
      throw Failure(description: "the connection string of the database cannot be read: \(message)")
    case .databaseMissing(let message)?:
      throw Failure(
        description: "the database is not there; create it with CREATE DATABASE, or name another (\(message))")
    case .userRefused(let message)?:
      throw Failure(
        description:
          "PostgreSQL does not let the user in; create it, or mend its password or pg_hba.conf (\(message))")
    }
  }

  /// A transaction must stay on one connection of PostgreSQL, with its settings.
  private func checkTransactions() async throws {
    let kept = await owner.runRepeatable { (connection) throws(PostgresError) in
      try connection.inTransaction([Command(.begin), Command(.setProbe)]) { (connection) throws(PostgresError) in
        try connection.run(Command(.getProbe)).first { _ in true }?.bool(0) == true
      }
    }
    let isPooled = await owner.isPooled
    if case .success(true) = kept { return try await checkPreparedStatements() }
    if isPooled {
      throw Failure(
        description:
          "the pooler before PostgreSQL does not keep a transaction on one connection; set its pool mode to transaction or session"
      )
    }
    _ = try answer(kept)
  }

  private func checkPreparedStatements() async throws {
    guard let prepared else { return }
    let isKept: Bool
    do throws(PostgresError) { isKept = try await prepared.isKept() } catch {
      isKept = try answer(.failure(error))
    }
    guard isKept else {
      throw Failure(
        description:
          "--prepared-statements is on, and the pooler before PostgreSQL does not keep prepared statements; set --prepared-statements to auto, or use a pooler that keeps them, such as PgBouncer 1.21 with max_prepared_statements"
      )
    }
  }

  /// What must be so before anything is read: row security is in force for the role that readers take. Throws
  /// `Failure`.
  public func checkAfterMigrating() async throws {
    let exposed = await exposedTables()
    if case .failure(let error) = exposed, error.isRoleRefused {
      throw Failure(
        description:
          "the user of the database cannot take the role parley_reader, as which every read is done; run as a superuser: GRANT parley_reader TO that user (\(error.message))"
      )
    }
    let fault = await owner.runRepeatable { (connection) throws(PostgresError) in
      try DatabaseFault(probing: connection)?.ofReads
    }
    // What the readers' role may not read is told with its mend, not in PostgreSQL's words.
    if case .failure = exposed, let fault = try answer(fault) {
      throw Failure(description: "reads cannot work: \(fault)")
    }
    let tables = try answer(exposed).sorted()
    guard tables.isEmpty else {
      throw Failure(
        description:
          "row security is not in force on \(tables.joined(separator: ", ")): the role parley_reader sees rows with no tenant set; restore the policies of parley's migrations, and see that the role has no BYPASSRLS"
      )
    }
    if let fault = try answer(fault) { throw Failure(description: "reads cannot be trusted: \(fault)") }
  }

  /// The tables of which readers see rows with no tenant set. One that somebody has locked is not looked at: what row security
  /// goes by is checked beside, and a lock on one month is to keep no server from its start.
  private func exposedTables() async -> Result<Set<String>, PostgresError> {
    func rows<R: Sendable>(
      _ statement: Statement, _ value: @Sendable (Row) throws(PostgresError) -> R
    ) async -> Result<[R], PostgresError> {
      await reader.run { (connection) throws(PostgresError) in
        try connection.read(behind: .nobody) { (connection) throws(PostgresError) in
          try connection.run(Command(statement)).map { (row) throws(PostgresError) in try value(row) }
        }
      }
    }
    let unbound = await rows(.unboundTables) { (row) throws(PostgresError) in try row.text(0) }
    guard case .success(let tables) = unbound else { return unbound.map { Set($0) } }
    var exposed = Set(tables)
    for (table, statement) in Statement.showsRows {
      switch await rows(statement, { (row) throws(PostgresError) in try row.bool(0) }) {
      case .success(let answer): if !answer.isEmpty { exposed.insert(table) }
      case .failure(let error) where error.isLockTimeout:
        logger.warning("row security was not tried on a table that is locked", metadata: ["table": "\(table)"])
      case .failure(let error): return .failure(error)
      }
    }
    return .success(exposed)
  }

  private func answer<R>(_ result: Result<R, PostgresError>) throws(Failure) -> R {
    do throws(PostgresError) { return try result.get() } catch {
      throw Failure(description: error.message, isConnectionLost: error.isConnectionLost)
    }
  }
}

/// What the check goes by, from database_check.sql.
private struct DatabaseProperties {
  var version: Int32
  var versionName: String
  var encoding: String
  var isRowSecurityOn: Bool
  var isReadOnly: Bool
  var user: String
  var name: String
  var hasSchema: Bool
  /// The statements that turn row security on again; nil where none is known.
  var rowSecurityReset: String?

  init(_ rows: Rows) throws(PostgresError) {
    guard let row = rows.first(where: { _ in true }) else {
      throw PostgresError(kind: .unexpectedResponse, message: "database_check.sql answered with no row")
    }
    version = try row.int32(0)
    versionName = try row.text(1)
    encoding = try row.text(2)
    isRowSecurityOn = try row.bool(3)
    isReadOnly = try row.bool(4)
    user = try row.text(5)
    name = try row.text(6)
    hasSchema = try row.bool(7)
    rowSecurityReset = row.isNull(8) ? nil : try row.text(8)
  }
}

extension Statement {
  fileprivate static let databaseCheck = Statement("database_check", PackageResources.database_check_sql)
  fileprivate static let unboundTables = Statement("database_check_reader", PackageResources.database_check_reader_sql)
  fileprivate static let showsRows = ["interactions", "rollups", "postings", "deltas"].map { name in
    let text = sql(PackageResources.database_check_table_sql, ["table": "parley.\(name)"])
    return (table: "parley.\(name)", statement: Statement("database_check_\(name)", text))
  }
  fileprivate static let setProbe = Statement("probe_set", "SELECT set_config('parley.probe', 'kept', true)")
  fileprivate static let getProbe = Statement("probe_get", "SELECT current_setting('parley.probe', true) = 'kept'")
}

extension PostgresError {
  /// The role is missing (22023), or it may not be taken (42501).
  fileprivate var isRoleRefused: Bool {
    guard case .refused(let sqlState) = kind else { return false }
    return ["22023", "42501", "42704"].contains(sqlState) && message.contains("parley_reader")
  }
}
