import Glibc
import NIOPosix
import Synchronization

/// Begins calls with large requests on a thread of their own: to decode a batch of 500 records takes more than a
/// millisecond, in which an event loop would serve none of its other connections. Tenants take turns.
final class LargeRequests: Sendable {
  typealias Work = @Sendable () -> Void

  /// What waits of one tenant. The state's mutex guards it.
  struct Lane: @unchecked Sendable {
    fileprivate let lane = TurnQueue<Work>.Lane()
  }

  private struct State {
    var queue = TurnQueue<Work>()
    var isRunning = false
  }

  private let thread: @Sendable (@escaping Work) -> Void
  private let state = Mutex(State())

  /// - Parameter thread: runs work on another thread.
  init(thread: @escaping @Sendable (@escaping Work) -> Void = LargeRequests.runBehindLoops) {
    self.thread = thread
  }

  /// Runs work on a thread that nothing else uses. Where the processors are busy, the event loops come first, and with them
  /// other tenants' small calls.
  private static let runBehindLoops: @Sendable (@escaping Work) -> Void = { work in
    NIOThreadPool.singleton.submit { _ in
      _ = setpriority(ofThread, 0, niceness)
      work()
    }
  }

  private static let ofThread = __priority_which_t(PRIO_PROCESS.rawValue)
  /// The process's and five more, which is a third of the processor time that an event loop has where both want all of it.
  static let niceness = min(getpriority(ofThread, id_t(getpid())) + 5, 19)

  func add(of lane: Lane, _ work: @escaping Work) {
    let isToRun = state.withLock { state in
      state.queue.add(work, of: lane.lane)
      defer { state.isRunning = true }
      return !state.isRunning
    }
    if isToRun { thread { [self] in run() } }
  }

  private func run() {
    while let work = next() { work() }
  }

  private func next() -> Work? {
    state.withLock { state in
      let next = state.queue.next()
      state.isRunning = next != nil
      return next
    }
  }
}
