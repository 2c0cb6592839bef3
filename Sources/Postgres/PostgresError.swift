/// What went wrong between here and PostgreSQL. Its words are for the log, never for a caller.
package struct PostgresError: Error {
  package enum Kind {
    /// The connection is gone or could not be made; whether a transaction under way committed is unknown.
    case connectionLost
    /// PostgreSQL refused, and rolled back.
    case refused(sqlState: String)
    /// The task was cancelled; nothing has taken effect.
    case cancelled
    /// A response was not of the form its statement promises.
    case unexpectedResponse
    /// A check of its user's own found this in a response; nothing was read.
    case checkFailed(any Error)
  }

  package var kind: Kind
  package var message: String
  /// No partition holds a row's time. PostgreSQL gives this no SQLSTATE of its own.
  package var isPartitionMissing: Bool
  /// The same, or a broken constraint: another node said so, and the one that passes it on does not tell which.
  package var mayMissPartition: Bool
  /// Another node refused a COPY, and the one that passes it on gives a SQLSTATE of its own.
  package var isStateLost: Bool

  package init(
    kind: Kind, message: String, isPartitionMissing: Bool = false, mayMissPartition: Bool = false,
    isStateLost: Bool = false
  ) {
    self.kind = kind
    self.message = message
    self.isPartitionMissing = isPartitionMissing
    self.mayMissPartition = mayMissPartition
    self.isStateLost = isStateLost
  }

  package var isConnectionLost: Bool {
    if case .connectionLost = kind { true } else { false }
  }

  package var sqlState: String? {
    if case .refused(let sqlState) = kind { sqlState } else { nil }
  }

  package var isStatementCancelled: Bool { sqlState == "57014" }

  /// The connection and the server disagree on what is prepared: a pooler discarded the statement (26000) or has it
  /// already (42P05), or a table has changed so that its result would be another (0A000).
  package var isPreparedStatementStale: Bool {
    ["26000", "42P05", "0A000"].contains(sqlState)
  }

  /// What PostgreSQL keeps, or the disk below it, may be damaged in one place: the rest can be asked for apart (XX001 and
  /// XX002, and the system's errors, class 58).
  package var mayBeOfOneRow: Bool {
    sqlState.map { ["58", "XX"].contains(String($0.prefix(2))) } ?? false
  }

  /// The session may only read, as where it began on a standby. The next one may write.
  package var isReadOnly: Bool { sqlState == "25006" }

  /// A row with the same key is there.
  package var isKeyTaken: Bool { sqlState == "23505" }

  /// What another has locked was waited for as long as it may be.
  package var isLockTimeout: Bool { sqlState == "55P03" }

  /// Trying again at once may succeed: after a deadlock, a serialization failure or a prepared statement's loss.
  package var isTransient: Bool {
    ["40001", "40P01"].contains(sqlState) || isPreparedStatementStale
  }
}
