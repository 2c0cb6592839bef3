import Core
import Postgres

/// The database could not write a row, whatever the row; it may have all the same.
struct WriteFailure: Sendable {
  /// What the caller is told.
  let error: RPCError
  /// What others have locked was waited for too long, or is put off: that concerns whoever's it is, and not all of the
  /// database.
  let isOfALock: Bool

  init(_ error: RPCError) {
    self.error = error
    isOfALock = false
  }

  init(_ error: PostgresError) {
    self.error = error.rpcError
    isOfALock = error.isLockTimeout
  }

  /// - Parameter what: what is locked.
  init(putOff what: String) {
    error = .databaseLocked(cause: "\(what) is locked, and it is put off")
    isOfALock = true
  }
}
