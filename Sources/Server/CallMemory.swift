import Domain
import Synchronization

/// The memory that the calls under way on all connections may take, and what share of it one caller may have.
final class CallMemory: Sendable {
  /// Whose calls share a share.
  enum Holder: Hashable {
    case tenant(Tenant)
    /// While its tenants are not known.
    case connection(ObjectIdentifier)
  }

  private struct State {
    var bytes = 0
    var bytesByHolder: [Holder: Int] = [:]
  }

  private let bytesMax: Int
  private let bytesPerHolderMax: Int
  private let state = Mutex(State())

  init(
    bytesMax: Int = Limits.callBytesInFlightMax, bytesPerHolderMax: Int = Limits.callBytesInFlightPerTenantMax
  ) {
    self.bytesMax = bytesMax
    self.bytesPerHolderMax = bytesPerHolderMax
  }

  /// Takes that much of the memory for a call.
  ///
  /// - Throws: when it is not there.
  func reserve(_ bytes: Int, for holder: Holder) throws(RPCError) {
    try state.withLock { state throws(RPCError) in
      guard state.bytes + bytes <= bytesMax else {
        throw .overloaded("the calls under way fill the server's memory for them")
      }
      let held = state.bytesByHolder[holder, default: 0] + bytes
      guard held <= bytesPerHolderMax else {
        throw .overloaded(
          "this caller's calls under way weigh \(held) bytes; at most \(bytesPerHolderMax) are allowed: send fewer at once"
        )
      }
      state.bytesByHolder[holder] = held
      state.bytes += bytes
    }
  }

  func release(_ bytes: Int, of holder: Holder) {
    state.withLock { state in
      state.bytes -= bytes
      let held = (state.bytesByHolder[holder] ?? 0) - bytes
      state.bytesByHolder[holder] = held > 0 ? held : nil
    }
  }
}
