import Core
import Postgres

/// The registry has this number for a tenant, or none, and not the one that was told.
struct OtherTenantNumber: Error {
  var key: TenantKey?
}

extension PostgresError {
  /// The registry has another number for a tenant than the one told (refuse_tenant_number in v0006_tenants.sql).
  var isTenantNumberRefused: Bool { sqlState == "PT001" }

  /// The data of the statement is to blame, not the server, the moment or the schema. These are data exceptions (22),
  /// broken constraints (23), a row too long for an index (54000), and what a trigger raises: RAISE's own P0001, or a
  /// code of a class that is not PostgreSQL's. Anything else is ours to mend, and no caller's fault.
  var blamesTheRow: Bool {
    guard let sqlState, !isPartitionMissing, !isTenantNumberRefused, sqlState.utf8.count == 5 else { return false }
    let sqlClass = String(sqlState.prefix(2))
    return ["22", "23"].contains(sqlClass) || ["54000", "P0001"].contains(sqlState)
      || !Self.classesOfPostgreSQL.contains(sqlClass)
  }

  /// The first two characters of every SQLSTATE that PostgreSQL itself gives (PostgreSQL documentation, appendix A).
  private static let classesOfPostgreSQL: Set<String> = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25",
    "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57",
    "58", "72", "F0", "HV", "P0", "XX",
  ]

  /// What the caller is told. (SQLSTATE: PostgreSQL documentation, appendix A.)
  var rpcError: RPCError {
    let cause = "\(kind): \(message)"
    switch kind {
    case .connectionLost: return .databaseUnavailable(cause: cause)
    case .cancelled: return .cancelled
    case .unexpectedResponse: return .internal(cause: cause)
    // Of a tenant's number, twice in a row: databases change under the server.
    case .checkFailed: return .databaseUnavailable(cause: cause)
    case .refused(let sqlState):
      switch sqlState {
      case "22003":
        return RPCError(
          .outOfRange, .sumOutOfRange, "a sum passes 64 bits; narrow the time range or the filter", cause: cause)
      case "57014":
        var error = RPCError.deadlineExceeded
        error.cause = cause
        return error
      case _ where isLockTimeout: return .databaseLocked(cause: cause)
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
