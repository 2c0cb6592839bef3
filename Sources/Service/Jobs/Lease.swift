/// The states of the right to do a job, during one try. README.md in this folder has them as a diagram.
///
/// A value that decides: `Session.withLease` locks rows and runs the work as it says. It lives no longer than the try, so
/// no work can go by a lease that an earlier transaction held.
struct Lease {
  enum State: Equatable {
    /// The row may be asked for, at the beginning of a transaction.
    case free
    /// The transaction under way has locked the row.
    case held
    /// The row was locked by another transaction, or there was none.
    case refused
    /// Another server does the work.
    case elsewhere
    /// The transaction that held it has ended: by COMMIT, by ROLLBACK, or because its connection was lost.
    case ended
  }

  private(set) var state = State.free
  private var hasMadeRow = false

  var isFree: Bool { state == .free }

  /// The transaction has asked for the row.
  ///
  /// - Returns: whether it does the work.
  mutating func asked(hasLockedRow: Bool) -> Bool {
    precondition(state == .free, "a lease is asked for once in a transaction")
    state = hasLockedRow ? .held : .refused
    return hasLockedRow
  }

  /// After a refusal, the row was made where it was missing. Then it is asked for once more, and no further: whoever
  /// removes it again and again shall not keep a server at it.
  mutating func lookedForRow(wasMissing: Bool) {
    precondition(state == .refused, "a row is looked for after a refusal")
    state = wasMissing && !hasMadeRow ? .free : .elsewhere
    hasMadeRow = wasMissing
  }

  /// The transaction has ended, whichever way.
  mutating func transactionEnded() {
    if state == .held { state = .ended }
  }
}
