import CLibpq

/// How connections are made and set up.
package struct ConnectionConfiguration: Sendable {
  /// A connection URI or keyword string, as libpq reads it.
  package var url: String
  /// What PostgreSQL shows as the connection's name, before "owner" or "reader".
  package var applicationName: String
  /// The longest a statement may run. PostgreSQL sees to it; zero for no limit.
  package var statementTimeout: Duration
  /// How much longer PostgreSQL may say nothing before its connection is given up: it may have stopped, or its host.
  package var grace: Duration
  package var preparedStatements: PreparedStatements
  /// What a reader's session is set to; behind a pooler, each of its transactions.
  package var readerSettings: [(name: String, value: String)]
  /// A function by which a database shows that its tables are distributed over other nodes.
  package var distributionMark: String?

  package init(
    url: String, applicationName: String, statementTimeout: Duration = .seconds(30), grace: Duration = .seconds(5),
    preparedStatements: PreparedStatements = .auto, readerSettings: [(name: String, value: String)] = [],
    distributionMark: String? = nil
  ) {
    self.url = url
    self.applicationName = applicationName
    self.statementTimeout = statementTimeout
    self.grace = grace
    self.preparedStatements = preparedStatements
    self.readerSettings = readerSettings
    self.distributionMark = distributionMark
  }

  /// Asks for the process that serves the session, and whether the tables are distributed.
  var sessionQuery: String {
    let isDistributed = distributionMark.map { mark in
      // By the catalog, for to_regproc fails where the user may not use the schema, and who that is is told elsewhere.
      """
      EXISTS (
        SELECT FROM pg_proc WHERE proname = split_part(\(sqlLiteral(mark)), '.', 2)
          AND pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = split_part(\(sqlLiteral(mark)), '.', 1)))
      """
    }
    return "SELECT pg_backend_pid(), \(isDistributed ?? "false")"
  }

  /// Why libpq cannot read a connection URI or keyword string, which no waiting mends; nil where it can.
  package static func mistake(in url: String) -> String? {
    // Any other text is the name of a database.
    guard url.contains("=") || url.hasPrefix("postgres://") || url.hasPrefix("postgresql://") else { return nil }
    var message: UnsafeMutablePointer<CChar>?
    let options = PQconninfoParse(url, &message)
    defer {
      PQconninfoFree(options)
      PQfreemem(message)
    }
    guard options == nil else { return nil }
    return message.map { oneLine($0) } ?? "there is no memory to read it"
  }

  /// As SQL, for the transaction under way alone or for the session.
  func settings(of role: Session.Role, isLocal: Bool) -> String {
    var settings = [
      ("statement_timeout", "\(statementTimeout.wholeMilliseconds)"),
      ("idle_in_transaction_session_timeout", "60000"),
    ]
    // A transaction with settings of its own begins with what it is.
    if role == .reader {
      settings += readerSettings.map { ($0.name, $0.value) }
      if !isLocal { settings.append(("default_transaction_isolation", "repeatable read")) }
    }
    return """
      SELECT
        -- An answer means durable, whatever the server's default is, or becomes while the session lasts.
        set_config(
          'synchronous_commit',
          CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END,
          \(isLocal)),
        num_nonnulls(\(settings.map { "set_config('\($0.0)', '\($0.1)', \(isLocal))" }.joined(separator: ", ")))
      """
  }

  /// In libpq's keywords.
  func keywords(of role: Session.Role) -> [(String, String)] {
    // What the operator's own URL says comes later and so wins.
    [
      ("connect_timeout", "5"), ("keepalives_idle", "30"), ("keepalives_interval", "10"),
      ("tcp_user_timeout", "20000"), ("application_name", "\(applicationName) \(role.rawValue)"),
      ("dbname", url), ("client_encoding", "UTF8"),
    ]
  }

  /// In milliseconds; nil for ever.
  var silenceMax: Int64? { statementTimeout > .zero ? (statementTimeout + grace).wholeMilliseconds : nil }
}

extension Duration {
  package var wholeMilliseconds: Int64 {
    components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
  }
}
