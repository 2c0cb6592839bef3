import Domain
import NIOCore
import Synchronization

/// Shares the time of one event loop among tenants, so that one with many calls under way delays the others by little.
///
/// SwiftNIO runs every task of a loop before it looks at the sockets again, and reads all that a socket has. So the
/// calls of one busy tenant would keep the loop for milliseconds. Here tenants take turns, work by work, and after a
/// while the loop looks at its sockets.
final class LoopTurns: Sendable {
  typealias Work = @Sendable () -> Void

  let loop: any EventLoop
  /// Shared by all loops of a server.
  let large: LargeRequests
  private let lanes = Mutex(Lanes())

  /// After so long the sockets are looked at.
  private static let turn = TimeAmount.microseconds(300)
  /// Long enough for SwiftNIO to see that nothing is due and to look at the sockets. Where something has come, it does
  /// not wait for this to pass.
  private static let pause = TimeAmount.microseconds(20)

  init(_ loop: any EventLoop, large: LargeRequests = LargeRequests()) {
    self.loop = loop
    self.large = large
  }

  private func runTurn() {
    let end = loop.now + Self.turn
    repeat {
      guard let work = lanes.withLock({ $0.queue.next() }) else { break }
      work()
    } while loop.now < end
    guard lanes.withLock({ $0.endTurn() }) else { return }
    // Behind what this turn's work has left for the loop, such as to send responses.
    loop.execute { self.loop.scheduleTask(in: Self.pause) { self.runTurn() } }
  }

  /// Those that have connections here.
  var tenantsCount: Int { lanes.withLock(\.tenantsCount) }

  // MARK: Lanes

  /// Which lane a connection's work takes. The mutex guards it.
  fileprivate final class Membership: @unchecked Sendable {
    fileprivate var lane = TurnQueue<Work>.Lane()
    fileprivate var tenant: Tenant?
    /// It has made calls of several tenants.
    fileprivate var isMixed = false
  }

  private struct Lanes {
    var queue = TurnQueue<Work>()
    /// A turn runs, or is about to.
    private var isRunning = false
    /// With the number of their connections.
    private var ofTenant: [Tenant: (lane: TurnQueue<Work>.Lane, members: Int)] = [:]

    var tenantsCount: Int { ofTenant.count }

    /// - Returns: whether whoever adds it is to begin a turn.
    mutating func add(_ work: @escaping Work, of member: Membership) -> Bool {
      queue.add(work, of: member.lane)
      defer { isRunning = true }
      return !isRunning
    }

    /// - Returns: whether to run another turn.
    mutating func endTurn() -> Bool {
      isRunning = !queue.isEmpty
      return isRunning
    }

    mutating func join(_ tenant: Tenant, _ member: Membership) {
      guard !member.isMixed, member.tenant != tenant else { return }
      guard member.tenant == nil else {
        leave(member)
        member.isMixed = true
        return
      }
      let known = ofTenant[tenant] ?? (TurnQueue<Work>.Lane(), 0)
      ofTenant[tenant] = (known.lane, known.members + 1)
      (member.tenant, member.lane) = (tenant, known.lane)
    }

    mutating func leave(_ member: Membership) {
      guard let tenant = member.tenant, let known = ofTenant[tenant] else { return }
      ofTenant[tenant] = known.members == 1 ? nil : (known.lane, known.members - 1)
      (member.tenant, member.lane) = (nil, TurnQueue<Work>.Lane())
    }
  }

  fileprivate func add(_ work: @escaping Work, of member: Membership) {
    let isToRun = lanes.withLock { $0.add(work, of: member) }
    if isToRun { loop.execute { self.runTurn() } }
  }

  fileprivate func join(_ tenant: Tenant, _ member: Membership) { lanes.withLock { $0.join(tenant, member) } }

  fileprivate func leave(_ member: Membership) { lanes.withLock { $0.leave(member) } }

  fileprivate func isWaiting(_ member: Membership) -> Bool { lanes.withLock { _ in !member.lane.isEmpty } }
}

/// Runs the tasks and completions of one connection on its event loop, in turn with those of other tenants. A call
/// costs no hop between threads.
final class TurnExecutor: TaskExecutor, CompletionExecutor {
  private let turns: LoopTurns
  private let membership = LoopTurns.Membership()

  init(_ turns: LoopTurns) {
    self.turns = turns
  }

  deinit { turns.leave(membership) }

  var thread: ObjectIdentifier { ObjectIdentifier(self) }
  var isCurrent: Bool { turns.loop.inEventLoop }
  var taskExecutor: (any TaskExecutor)? { self }

  /// Work that came before waits for its turn.
  var isWaiting: Bool { turns.isWaiting(membership) }

  /// The connection has made a call of a tenant, whose turns it shares from now on; unless it makes calls of several
  /// tenants, as a gateway does: then it takes turns by itself.
  func join(_ tenant: Tenant) { turns.join(tenant, membership) }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }

  func execute(_ work: @escaping @Sendable () -> Void) { turns.add(work, of: membership) }
}
