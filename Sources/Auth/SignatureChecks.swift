import Core
import Dispatch
import Synchronization

/// Checks signatures one after the other on a thread of its own, a bounded number of them waiting.
///
/// Anybody can send tokens that are signed by nobody, and a public key's algorithm takes tens of microseconds to find
/// out. On an event loop that would be time taken from calls whose tokens are known.
final class SignatureChecks: Sendable {
  private let queue = DispatchQueue(label: "parley.signatures")
  private let waiting = Atomic<Int>(0)
  private let waitingMax: Int

  /// Those under way and those that wait.
  var count: Int { waiting.load(ordering: .relaxed) }

  init(waitingMax: Int = Limits.signatureChecksWaitingMax) {
    self.waitingMax = waitingMax
  }

  func run(_ check: @escaping @Sendable () -> Bool) async throws(RPCError) -> Bool {
    guard waiting.add(1, ordering: .relaxed).newValue <= waitingMax else {
      waiting.subtract(1, ordering: .relaxed)
      throw .overloaded("too many calls wait for their token's signature to be checked")
    }
    return await withCheckedContinuation { continuation in
      queue.async { [self] in
        let isRight = check()
        waiting.subtract(1, ordering: .relaxed)
        continuation.resume(returning: isRight)
      }
    }
  }
}
