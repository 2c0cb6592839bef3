import Domain
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import Server

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

  @Test func connectionsOfOneTenantShareItsTurns() {
    let turns = LoopTurns(loop)
    let (first, second, other) = (TurnExecutor(turns), TurnExecutor(turns), TurnExecutor(turns))
    for executor in [first, second] { executor.join(Tenant("busy")!) }
    other.join(Tenant("quiet")!)
    for number in 1...2 {
      add("first \(number)", to: first)
      add("second \(number)", to: second)
    }
    add("other", to: other)
    loop.run()
    #expect(log.all == ["first 1", "other", "second 1", "first 2", "second 2"])
  }

  @Test func connectionOfSeveralTenantsTakesTurnsByItself() {
    let turns = LoopTurns(loop)
    let (gateway, busy) = (TurnExecutor(turns), TurnExecutor(turns))
    busy.join(Tenant("busy")!)
    for tenant in ["busy", "quiet", "busy"] { gateway.join(Tenant(tenant)!) }
    for number in 1...2 { add("busy \(number)", to: busy) }
    add("gateway", to: gateway)
    loop.run()
    #expect(log.all == ["busy 1", "gateway", "busy 2"])
  }

  @Test func socketsAreLookedAtAfterATurn() {
    let turns = LoopTurns(loop)
    let busy = TurnExecutor(turns)
    for number in 1...3 { add("busy \(number)", to: busy, takes: .microseconds(200)) }
    loop.run()
    // The loop has nothing to do now, so it looks at its sockets.
    #expect(log.all == ["busy 1", "busy 2"] && busy.isWaiting)
    loop.advanceTime(by: .milliseconds(1))
    #expect(log.all == ["busy 1", "busy 2", "busy 3"] && !busy.isWaiting)
  }

  @Test func tenantWithoutConnectionsIsForgotten() {
    let turns = LoopTurns(loop)
    for number in 1...3 {
      let executor = TurnExecutor(turns)
      executor.join(Tenant("tenant-\(number)")!)
      #expect(turns.tenantsCount == 1)
    }
    #expect(turns.tenantsCount == 0)
  }
}
