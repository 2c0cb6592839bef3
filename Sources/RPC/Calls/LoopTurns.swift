import Core
import NIOCore
import Synchronization

/// Shares the time of one event loop among tenants, so that one with many calls under way delays the others by little.
///
/// SwiftNIO runs every task of a loop before it looks at the sockets again, and reads all that a socket has. So the
/// calls of one busy tenant would keep the loop for milliseconds. Here tenants take turns, work by work, and after a
/// while the loop looks at its sockets.
final class LoopTurns: Sendable {
  typealias Work = @Sendable () -> Void

  private struct State {
    var queue = TurnQueue<Work>()
    /// A turn runs, or is about to.
    var isRunning = false
    var executors = TenantObjects<TurnExecutor>()
  }

  let loop: any EventLoop
  /// Shared by all loops of a server.
  let large: LargeRequests
  private let state = Mutex(State())
  /// nil for a loop without sockets.
  private let pipe: LoopPipe?

  /// After so long the sockets are looked at.
  private static let turn = TimeAmount.microseconds(300)
  /// Where there is no pipe: long enough for SwiftNIO to see that nothing is due and to look at the sockets. Where
  /// something has come, it does not wait for this to pass.
  private static let pause = TimeAmount.microseconds(20)

  /// - Parameter hasSockets: the loop is one of SwiftNIO's threads, and none that a test moves.
  init(_ loop: any EventLoop, large: LargeRequests = LargeRequests(), hasSockets: Bool = false) {
    self.loop = loop
    self.large = large
    self.pipe = hasSockets ? LoopPipe(loop) : nil
  }

  /// Of a tenant on this loop: the same one for as long as anybody keeps it.
  func executor(of tenant: Tenant) -> TurnExecutor {
    state.withLock { $0.executors.object(of: tenant) { TurnExecutor(self) } }
  }

  /// How many tenants have an executor.
  var tenantsCount: Int { state.withLock(\.executors.count) }

  fileprivate func add(_ work: @escaping Work, of lane: TurnLane) {
    let isToRun = state.withLock { state in
      state.queue.add(work, of: lane.lane)
      defer { state.isRunning = true }
      return !state.isRunning
    }
    if isToRun { loop.execute { self.runTurn() } }
  }

  private func runTurn() {
    let end = loop.now + Self.turn
    repeat {
      guard let work = state.withLock({ $0.queue.next() }) else { break }
      work()
    } while loop.now < end
    let isMore = state.withLock { state in
      state.isRunning = !state.queue.isEmpty
      return state.isRunning
    }
    guard isMore else { return }
    // Behind what this turn's work has left for the loop, such as to send responses.
    loop.execute {
      if self.pipe?.signal({ [weak self] in self?.runTurn() }) ?? false { return }
      self.loop.scheduleTask(in: Self.pause) { self.runTurn() }
    }
  }
}

/// The mutex of its loop's turns guards it.
private struct TurnLane: @unchecked Sendable {
  let lane = TurnQueue<LoopTurns.Work>.Lane()
}

/// Runs tasks and completions on an event loop, in turn with its other executors: those of one tenant, or of one
/// connection whose calls are of no tenant or of several. A call costs no hop between threads.
final class TurnExecutor: TaskExecutor, CompletionExecutor {
  private let turns: LoopTurns
  private let lane = TurnLane()

  init(_ turns: LoopTurns) {
    self.turns = turns
  }

  var thread: ObjectIdentifier { ObjectIdentifier(self) }
  var isCurrent: Bool { turns.loop.inEventLoop }
  var taskExecutor: (any TaskExecutor)? { self }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }

  func execute(_ work: @escaping @Sendable () -> Void) { turns.add(work, of: lane) }
}
