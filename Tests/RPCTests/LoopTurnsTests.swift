import Core
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import RPC

/// One loop of several connections, with time that the test moves.
struct LoopTurnsTests {
  private final class Log: Sendable {
    private let entries = Mutex<[String]>([])

    func add(_ entry: String) { entries.withLock { $0.append(entry) } }
    var all: [String] { entries.withLock(\.self) }
  }

  private let loop = EmbeddedEventLoop()
  private let log = Log()

  private func add(_ text: String, to executor: TurnExecutor, takes time: TimeAmount = .zero) {
    executor.execute { [loop, log] in
      log.add(text)
      loop.advanceTime(by: time)
    }
  }

  @Test func tenantsTakeTurnsOnALoop() {
    let turns = LoopTurns(loop)
    let (busy, quiet) = (turns.executor(of: Tenant("busy")!), turns.executor(of: Tenant("quiet")!))
    for number in 1...3 { add("busy \(number)", to: busy) }
    add("quiet", to: quiet)
    // Another connection of the same tenant.
    add("busy 4", to: turns.executor(of: Tenant("busy")!))
    loop.run()
    #expect(log.all == ["busy 1", "quiet", "busy 2", "busy 3", "busy 4"])
  }

  @Test func socketsAreLookedAtAfterATurn() {
    let busy = TurnExecutor(LoopTurns(loop))
    for number in 1...3 { add("busy \(number)", to: busy, takes: .microseconds(200)) }
    loop.run()
    // The loop has nothing to do now, so it looks at its sockets.
    #expect(log.all == ["busy 1", "busy 2"])
    loop.advanceTime(by: .milliseconds(1))
    #expect(log.all == ["busy 1", "busy 2", "busy 3"])
  }

  @Test func tenantsWithoutConnectionsAreForgotten() {
    let turns = LoopTurns(loop)
    let kept = turns.executor(of: Tenant("kept")!)
    for number in 1...1000 { _ = turns.executor(of: Tenant("tenant-\(number)")!) }
    #expect(turns.tenantsCount <= 65 && turns.executor(of: Tenant("kept")!) === kept)
  }
}
