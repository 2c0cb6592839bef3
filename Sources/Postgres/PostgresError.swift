import Domain

/// What went wrong between here and PostgreSQL. Its words are for the log, never for a caller.
struct PostgresError: Error {
  enum Kind {
    /// The connection is gone or could not be made; whether a transaction under way committed is unknown.
    case connectionLost
    /// PostgreSQL refused, and rolled back.
    case refused(sqlState: String)
    /// The task was cancelled; nothing has taken effect.
    case cancelled
    /// An answer was not of the form its statement promises.
    case unexpectedAnswer
    /// The registry has this number for the tenant, or none, and not the one told; nothing was read.
    case otherTenantNumber(TenantKey?)
  }

  var kind: Kind
  var message: String
  /// No partition holds a row's time. PostgreSQL gives this no SQLSTATE of its own.
  var isPartitionMissing = false

  var isConnectionLost: Bool {
    if case .connectionLost = kind { true } else { false }
  }

  private var sqlState: String? {
    if case .refused(let sqlState) = kind { sqlState } else { nil }
  }

  var isStatementCancelled: Bool { sqlState == "57014" }

  /// The registry has another number for a tenant than the one told (refuse_tenant_number in v0006_tenants.sql).
  var isTenantNumberRefused: Bool { sqlState == "PT001" }

  /// The connection and the server disagree on what is prepared: a pooler discarded the statement (26000) or has it
  /// already (42P05), or a table has changed so that its result would be another (0A000).
  var isPreparedStatementStale: Bool {
    ["26000", "42P05", "0A000"].contains(sqlState)
  }

  /// The data of the statement is to blame, not the server, the moment or the schema. These are data exceptions (22),
  /// broken constraints (23), a row too long for an index (54000), and what a trigger raises: RAISE's own P0001, or a
  /// code of a class that is not PostgreSQL's. Anything else is ours to mend, and no caller's fault.
  var blamesTheRow: Bool {
    guard let sqlState, !isPartitionMissing, !isTenantNumberRefused, sqlState.utf8.count == 5 else { return false }
    let sqlClass = String(sqlState.prefix(2))
    return ["22", "23"].contains(sqlClass) || ["54000", "P0001"].contains(sqlState)
      || !Self.classesOfPostgreSQL.contains(sqlClass)
  }

  /// What PostgreSQL keeps, or the disk below it, may be damaged in one place: the rest can be asked for apart (XX001 and
  /// XX002, and the system's errors, class 58).
  var mayBeOfOneRow: Bool {
    sqlState.map { ["58", "XX"].contains(String($0.prefix(2))) } ?? false
  }

  /// The session may only read, as where it began on a standby. The next one may write.
  var isReadOnly: Bool { sqlState == "25006" }

  /// A row with the same key is there.
  var isKeyTaken: Bool { sqlState == "23505" }

  /// The first two characters of every SQLSTATE that PostgreSQL itself gives (PostgreSQL documentation, appendix A).
  private static let classesOfPostgreSQL: Set<String> = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25",
    "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57",
    "58", "72", "F0", "HV", "P0", "XX",
  ]

  /// Trying again at once may succeed: after a deadlock, a serialization failure or a prepared statement's loss.
  var isTransient: Bool {
    ["40001", "40P01"].contains(sqlState) || isPreparedStatementStale
  }

  /// What the caller is told. (SQLSTATE: PostgreSQL documentation, appendix A.)
  var rpcError: RPCError {
    let cause = "\(kind): \(message)"
    switch kind {
    case .connectionLost: return .databaseUnavailable(cause: cause)
    case .cancelled: return .cancelled
    case .unexpectedAnswer: return .internal(cause: cause)
    // Twice in a row: databases change under the server.
    case .otherTenantNumber: return .databaseUnavailable(cause: cause)
    case .refused(let sqlState):
      switch sqlState {
      case "22003":
        return RPCError(
          .outOfRange, .sumOutOfRange, "a sum passes 64 bits; narrow the time range or the filter", cause: cause)
      case "57014":
        var error = RPCError.deadlineExceeded
        error.cause = cause
        return error
      // Resources, an operator's intervention, a system error, a connection's end, a standby, databases that change.
      case _
      where ["53", "57", "58", "08"].contains(String(sqlState.prefix(2)))
        || ["25006", "PT001"].contains(sqlState):
        return .databaseUnavailable(cause: cause)
      default: return .internal(cause: cause)
      }
    }
  }
}
