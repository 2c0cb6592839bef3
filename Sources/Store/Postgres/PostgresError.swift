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
  }

  var kind: Kind
  var message: String

  var isConnectionLost: Bool {
    if case .connectionLost = kind { true } else { false }
  }

  var isStatementCancelled: Bool {
    if case .refused("57014") = kind { true } else { false }
  }

  /// The data of the statement is to blame, not the server, the moment or the schema: data exceptions,
  /// broken constraints, and whatever a trigger raises, which may be any code of its own.
  var blamesTheRow: Bool {
    guard case .refused(let sqlState) = kind else { return false }
    let others = ["08", "25", "26", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0", "XX"]
    return !others.contains(String(sqlState.prefix(2)))
  }

  /// No partition holds a row's time.
  var isPartitionMissing: Bool {
    if case .refused("23514") = kind { message.contains("no partition of relation") } else { false }
  }

  /// Trying again at once may succeed: a deadlock or a serialization failure.
  var isTransient: Bool {
    guard case .refused(let sqlState) = kind else { return false }
    return sqlState == "40001" || sqlState == "40P01"
  }

  /// What the caller is told. (SQLSTATE: PostgreSQL documentation, appendix A.)
  var rpcError: RPCError {
    let cause = "\(kind): \(message)"
    switch kind {
    case .connectionLost: return .databaseUnavailable(cause: cause)
    case .cancelled: return .cancelled
    case .unexpectedAnswer: return .internal(cause: cause)
    case .refused(let sqlState):
      switch sqlState {
      case "22003":
        return RPCError(
          .outOfRange, .sumOutOfRange, "a sum passes 64 bits; narrow the time range or the filter", cause: cause)
      case "57014":
        var error = RPCError.deadlineExceeded
        error.cause = cause
        return error
      // Resources, an operator's intervention, a system error, a connection's end, a standby.
      case _ where ["53", "57", "58", "08"].contains(String(sqlState.prefix(2))) || sqlState == "25006":
        return .databaseUnavailable(cause: cause)
      default: return .internal(cause: cause)
      }
    }
  }
}
