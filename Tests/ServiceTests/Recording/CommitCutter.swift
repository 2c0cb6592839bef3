import Foundation
import Synchronization
import TestSupport

/// Stands between a client and PostgreSQL. The first time PostgreSQL says that a COMMIT is done, the client never hears
/// it: the connection ends instead.
final class CommitCutter: Sendable {
  private final class State: Sendable {
    let mayCut = Atomic(true)
  }

  private let relay: PostgresRelay
  private let state: State

  /// To be added to a keyword string, so that the client connects here.
  var url: String { relay.url }

  var hasCut: Bool { !state.mayCut.load(ordering: .sequentiallyConsistent) }

  init(_ session: DatabaseSession) throws {
    let state = State()
    self.state = state
    relay = try PostgresRelay(session) { direction, bytes in
      // PostgreSQL's CommandComplete.
      direction == .toServer || Data(bytes).range(of: Data("COMMIT\0".utf8)) == nil
        || !state.mayCut.exchange(false, ordering: .sequentiallyConsistent)
    }
  }

  func close() { relay.close() }
}
