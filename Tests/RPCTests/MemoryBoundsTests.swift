import Core
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import RPC

/// What calls and unread responses of all connections may hold together.
struct MemoryBoundsTests {
  private let acme = Tenant("acme")!
  private let globex = Tenant("globex")!

  // MARK: Calls

  @Test func oneCallersCallsLeaveRoomForOthers() throws {
    let memory = CallMemory(bytesMax: 100, bytesPerCallerMax: 40)
    let (one, other, stranger) = (memory.share(of: acme), memory.share(of: globex), memory.shareOfOneConnection())
    try one.reserve(40)
    // On another connection.
    let error = try #require(throws: RPCError.self) { try memory.share(of: acme).reserve(1) }
    #expect(error.code == .resourceExhausted && error.reason == .overloaded && error.retryAfter != nil)
    #expect(error.message.contains("41") && error.message.contains("40"))
    try other.reserve(40)
    // Then all of it is taken.
    try stranger.reserve(20)
    #expect(throws: RPCError.self) { try stranger.reserve(1) }
    one.release(40)
    try one.reserve(40)
  }

  @Test func tenantHasOneShare() {
    let memory = CallMemory(bytesMax: 100, bytesPerCallerMax: 40)
    let shares = [memory.share(of: acme), memory.share(of: acme), memory.share(of: globex)]
    #expect(shares[0] === shares[1] && shares[0] !== shares[2] && memory.sharesCount == 2)
  }

  @Test func sharesThatNobodyKeepsAreForgotten() throws {
    let memory = CallMemory(bytesMax: 100, bytesPerCallerMax: 40)
    let kept = memory.share(of: acme)
    for number in 0..<1000 { _ = memory.share(of: try #require(Tenant("t-\(number)"))) }
    #expect(memory.sharesCount < 100)
    #expect(memory.share(of: acme) === kept)
  }

  @Test func refusedCallTakesNothing() throws {
    let memory = CallMemory(bytesMax: 100, bytesPerCallerMax: 50)
    let (one, other) = (memory.share(of: acme), memory.share(of: globex))
    for _ in 0..<10 { #expect(throws: RPCError.self) { try one.reserve(51) } }
    try one.reserve(50)
    for _ in 0..<10 { #expect(throws: RPCError.self) { try other.reserve(51) } }
    try other.reserve(50)
  }

  @Test func sharesAreSmallerThanTheWhole() {
    #expect(Limits.callBytesInFlightPerTenantMax <= Limits.callBytesInFlightMax / 2)
    #expect(Limits.frameBytesMax <= Limits.callBytesInFlightPerConnectionMax)
    #expect(Limits.callBytesInFlightPerConnectionMax <= Limits.callBytesInFlightPerTenantMax)
    #expect(Limits.pageBytesMax <= Limits.unreadResponseBytesPerConnectionMax)
    #expect(Limits.unreadResponseBytesPerConnectionMax < Limits.unreadResponseBytesMax)
  }

  // MARK: Requests that are not complete

  @Test func strangersRequestsLeaveRoomForOthers() throws {
    let memory = RequestMemory(knownBytesMax: 1 << 20, strangerBytesMax: 1 << 20)
    let loop = EmbeddedEventLoop()
    let table = ConnectionTable(listeners: 1, connectionsMax: 3, undecidedMax: 3)
    let connections = try (0..<3).map { _ in
      try #require(table.add(EmbeddedChannel(loop: loop), listener: 0))
    }
    connections[2].authenticated(as: Tenant("acme")!)
    let requests = connections.map { UnfinishedRequests(memory: memory, connection: $0) }
    #expect(requests[0].hold(1 << 20) && !requests[1].hold(1 << 17))
    #expect(requests[1].hold(1000), "a small one always has room")
    #expect(requests[2].hold(1 << 20))
    #expect(requests[0].hold(0) && requests[1].hold(1 << 20))
  }

  // MARK: Responses

  private final class Stage: @unchecked Sendable {
    let loop = EmbeddedEventLoop()
    let memory: ResponseMemory
    let closed = Mutex<[Int]>([])
    private(set) var connections: [UnreadResponses] = []

    init(bytesMax: Int, connections count: Int) {
      memory = ResponseMemory(bytesMax: bytesMax)
      connections = (0..<count).map { number in
        UnreadResponses(memory: memory, loop: loop) { [unowned self] _ in closed.withLock { $0.append(number) } }
      }
    }
  }

  private let mebibyte = 1 << 20

  @Test func connectionThatHoldsForLongestIsClosed() {
    let stage = Stage(bytesMax: 3 * mebibyte, connections: 4)
    for connection in stage.connections[..<3] {
      connection.add(mebibyte)
      stage.loop.advanceTime(by: .seconds(1))
    }
    // The oldest has read some since.
    stage.connections[0].remove(mebibyte / 2)
    stage.loop.advanceTime(by: .milliseconds(1))
    stage.connections[3].add(mebibyte)
    #expect(stage.closed.withLock(\.self) == [1])
    #expect(stage.memory.bytes == 5 * mebibyte / 2)
  }

  @Test func ofThoseThatHoldAsLongTheOneThatHoldsMostIsClosed() {
    let stage = Stage(bytesMax: 8 * mebibyte, connections: 3)
    stage.connections[0].add(mebibyte)
    stage.connections[1].add(6 * mebibyte)
    stage.loop.advanceTime(by: .seconds(10))
    stage.connections[2].add(2 * mebibyte)
    #expect(stage.closed.withLock(\.self) == [1])
  }

  @Test func asManyAreClosedAsAreNeeded() {
    let stage = Stage(bytesMax: 10 * mebibyte, connections: 12)
    for connection in stage.connections {
      connection.add(mebibyte)
      stage.loop.advanceTime(by: .seconds(1))
    }
    #expect(stage.closed.withLock(\.self) == [0, 1])
    #expect(stage.memory.bytes == 10 * mebibyte)
  }

  @Test func connectionThatEndedHoldsNothing() {
    let stage = Stage(bytesMax: 3 * mebibyte, connections: 2)
    stage.connections[0].add(3 * mebibyte)
    stage.connections[0].end()
    stage.connections[1].add(3 * mebibyte)
    #expect(stage.closed.withLock(\.isEmpty) && stage.memory.bytes == 3 * mebibyte)
  }

  /// What connections hold below a piece is bounded by their number, and costs the sum nothing.
  @Test func smallResponsesAreCountedByTheirConnectionAlone() {
    let stage = Stage(bytesMax: mebibyte, connections: 1)
    for _ in 0..<60 { stage.connections[0].add(1000) }
    #expect(stage.memory.bytes == 0 && stage.connections[0].bytes == 60_000)
    stage.connections[0].add(10_000)
    #expect(stage.memory.bytes == 70_000)
    stage.connections[0].remove(70_000)
    #expect(stage.memory.bytes == 0)
  }
}
