import Core
import NIOCore
import NIOEmbedded
import TestSupport
import Testing

@testable import RPC

/// Which connections make room for others.
struct ConnectionTableTests {
  private final class Stage {
    let loop = EmbeddedEventLoop()
    let table: ConnectionTable
    private var channels: [ObjectIdentifier: EmbeddedChannel] = [:]

    init(listeners: Int = 1, connectionsMax: Int, undecidedMax: Int = .max) {
      table = ConnectionTable(listeners: listeners, connectionsMax: connectionsMax, undecidedMax: undecidedMax)
    }

    func connect(_ listener: Int = 0) throws -> AcceptedConnection? {
      let channel = EmbeddedChannel(loop: loop)
      try channel.connect(to: SocketAddress(unixDomainSocketPath: "/none")).wait()
      guard let connection = table.add(channel, listener: listener) else { return nil }
      channels[ObjectIdentifier(connection)] = channel
      channel.closeFuture.whenComplete { _ in connection.closed() }
      // So that none is as old as another.
      loop.advanceTime(by: .seconds(1))
      return connection
    }

    func isOpen(_ connection: AcceptedConnection) -> Bool {
      loop.run()
      return channels[ObjectIdentifier(connection)]?.isActive ?? false
    }

    func close(_ connection: AcceptedConnection) {
      channels[ObjectIdentifier(connection)]?.close(promise: nil)
      loop.run()
    }
  }

  @Test func oldestUndecidedMakesRoomForTheNextUndecided() throws {
    let stage = Stage(connectionsMax: 10, undecidedMax: 2)
    let connections = try (0..<3).map { _ in try #require(try stage.connect()) }
    #expect(connections.map(stage.isOpen) == [false, true, true])
    // One that has shown its protocol counts no more.
    connections[1].touch()
    let last = try #require(try stage.connect())
    #expect(([connections[1], connections[2], last]).allSatisfy(stage.isOpen))
  }

  @Test func strangerWhoseLastCallIsLongestAgoMakesRoom() throws {
    let stage = Stage(connectionsMax: 3)
    let connections = try (0..<3).map { _ in try #require(try stage.connect()) }
    for connection in connections { connection.touch() }
    connections[0].touch()
    let last = try #require(try stage.connect())
    #expect(connections.map(stage.isOpen) == [true, false, true])
    #expect(stage.isOpen(last))
  }

  @Test func knownConnectionThatIsIdleLongestMakesRoomAfterAllOthers() throws {
    let stage = Stage(connectionsMax: 3)
    let known = try (0..<3).map { _ in try #require(try stage.connect()) }
    for connection in known {
      connection.authenticated()
      stage.loop.advanceTime(by: .seconds(1))
    }
    stage.loop.advanceTime(by: .seconds(Limits.knownIdleSecondsMin - 4))
    #expect(try stage.connect() == nil, "none has been idle for long enough")
    stage.loop.advanceTime(by: .seconds(5))
    known[0].touch()
    let stranger = try #require(try stage.connect())
    #expect(known.map(stage.isOpen) == [true, false, true])
    // Rather one that was never known.
    #expect(try stage.connect() != nil)
    #expect(!stage.isOpen(stranger) && stage.isOpen(known[0]) && stage.isOpen(known[2]))
  }

  @Test func knownConnectionWithCallsUnderWayOrUnreadResponsesIsNotIdle() throws {
    let stage = Stage(connectionsMax: 1)
    let known = try #require(try stage.connect())
    known.authenticated()
    for _ in 0..<10 {
      stage.loop.advanceTime(by: .seconds(Limits.knownIdleSecondsMin - 1))
      known.noteUse()
      #expect(try stage.connect() == nil)
    }
    stage.loop.advanceTime(by: .seconds(Limits.knownIdleSecondsMin))
    #expect(try stage.connect() != nil)
  }

  @Test func knownConnectionsThatAreUsedNeverMakeRoom() throws {
    let stage = Stage(connectionsMax: 2)
    let known = try (0..<2).map { _ in try #require(try stage.connect()) }
    for connection in known {
      connection.touch()
      connection.authenticated()
      connection.touch()
    }
    #expect(try stage.connect() == nil)
    #expect(known.allSatisfy(stage.isOpen))
    stage.close(known[0])
    let stranger = try #require(try stage.connect())
    #expect(try stage.connect() != nil)
    #expect(!stage.isOpen(stranger) && stage.isOpen(known[1]))
  }

  @Test func listenerKeepsItsPartOfTheConnections() throws {
    // An eighth of sixteen for each of the two.
    let stage = Stage(listeners: 2, connectionsMax: 16)
    func known(_ listener: Int) throws -> AcceptedConnection? {
      let connection = try stage.connect(listener)
      connection?.authenticated()
      return connection
    }
    for _ in 0..<14 { #expect(try known(0) != nil) }
    #expect(try known(0) == nil)
    for _ in 0..<2 { #expect(try known(1) != nil) }
    #expect(try known(1) == nil)
  }

  /// A search looks at a few of them, and goes on where the last one stopped.
  @Test func idleConnectionIsFoundBehindManyThatAreUsed() throws {
    let count = 3 * KnownConnections.looksMax
    let stage = Stage(connectionsMax: count)
    let known = try (0..<count).map { _ in
      let connection = try #require(try stage.connect())
      connection.authenticated()
      return connection
    }
    stage.loop.advanceTime(by: .seconds(Limits.knownIdleSecondsMin))
    for connection in known.dropLast() { connection.noteUse() }
    let tries = try (1...4).first { _ in try stage.connect() != nil }
    #expect(tries == 3)
    #expect(known.dropLast().allSatisfy(stage.isOpen) && !stage.isOpen(known.last!))
  }

  /// Sixteen places, of which a tenant that has more than half leaves two to others.
  @Test func tenantThatHasMostLeavesPlacesToOthers() throws {
    let stage = Stage(connectionsMax: 16)
    let (greedy, other) = (Tenant("greedy")!, Tenant("other")!)
    func known(as tenant: Tenant) throws -> AcceptedConnection {
      let connection = try #require(try stage.connect())
      connection.authenticated(as: tenant)
      return connection
    }
    var connections = try (0..<14).map { _ in try known(as: greedy) }
    #expect(connections.allSatisfy(stage.isOpen))
    // Each further one takes the place of the one that was used longest ago, though it has calls under way.
    connections[0].noteUse()
    for place in 1...3 {
      connections.append(try known(as: greedy))
      #expect(!stage.isOpen(connections[place]))
    }
    // So do those of others, who always find room.
    let others = try (0..<4).map { _ in try known(as: other) }
    #expect(others.allSatisfy(stage.isOpen))
    #expect(connections.filter(stage.isOpen).count == 10)
  }

  /// Neither has half of the places.
  @Test func twoTenantsThatHaveMostTogetherLeavePlacesToAThird() throws {
    let stage = Stage(connectionsMax: 16)
    let tenants = [Tenant("greedy")!, Tenant("greedy-2")!]
    func known(as tenant: Tenant) throws -> AcceptedConnection? {
      let connection = try stage.connect()
      connection?.authenticated(as: tenant)
      return connection
    }
    var connections: [AcceptedConnection] = []
    for step in 0..<40 { connections.append(try #require(try known(as: tenants[step % 2]))) }
    #expect(connections.filter(stage.isOpen).count == 14)
    let third = try (0..<3).map { _ in try #require(try known(as: Tenant("third")!)) }
    #expect(third.allSatisfy(stage.isOpen))
    #expect(connections.filter(stage.isOpen).count == 11)
  }

  @Test func strangersOfAnotherListenerMakeRoomBeyondItsPart() throws {
    let stage = Stage(listeners: 2, connectionsMax: 16)
    let strangers = try (0..<14).map { _ in try #require(try stage.connect(0)) }
    for stranger in strangers { stranger.touch() }
    for _ in 0..<6 { try #require(try stage.connect(1)).authenticated() }
    #expect(strangers.map(stage.isOpen) == Array(repeating: false, count: 4) + Array(repeating: true, count: 10))
  }

  /// Whatever connects, speaks and leaves: there are never more than may be, and all that left make room.
  @Test func anyOrderOfEventsKeepsTheBounds() throws {
    var chance = SeededGenerator()
    let stage = Stage(listeners: 3, connectionsMax: 24, undecidedMax: 4)
    var open: [AcceptedConnection] = []
    for step in 0..<3_000 {
      switch Int.random(in: 0..<5, using: &chance) {
      case 0, 1: if let new = try stage.connect(.random(in: 0..<3, using: &chance)) { open.append(new) }
      case 2: open.randomElement(using: &chance)?.touch()
      case 3: open.randomElement(using: &chance)?.authenticated()
      default: if let gone = open.randomElement(using: &chance) { stage.close(gone) }
      }
      open.removeAll { !stage.isOpen($0) }
      #expect(open.count <= 24, "seed \(chance.seed), step \(step)")
    }
    for connection in open { stage.close(connection) }
    for _ in 0..<16 { try #require(try stage.connect(0)).authenticated() }
  }

  // MARK: Its queues

  @Test func queueGivesTheOldestThatIsStillIn() {
    var queue = AgeQueue<Int>()
    let tickets = (0..<5).map { queue.append($0, at: .uptimeNanoseconds(UInt64($0))) }
    #expect(queue.remove(tickets[0]) == 0 && queue.remove(tickets[0]) == nil)
    queue.remove(tickets[2])
    #expect(queue.oldest?.since == .uptimeNanoseconds(1) && queue.count == 3)
    let rest = (0..<4).map { _ in queue.removeOldest() }
    #expect(rest == [1, 3, 4, nil])
    #expect(queue.oldest == nil)
  }

  @Test func queueGoesOnAfterManyWereTakenOut() {
    var queue = AgeQueue<Int>()
    let first = queue.append(-1, at: .uptimeNanoseconds(0))
    for number in 0..<10_000 { queue.remove(queue.append(number, at: .uptimeNanoseconds(0))) }
    #expect(queue.count == 1 && queue.remove(first) == -1)
    _ = queue.append(7, at: .uptimeNanoseconds(1))
    #expect(queue.removeOldest() == 7)
  }
}

extension AcceptedConnection {
  /// As a tenant that has no other.
  fileprivate func authenticated() {
    authenticated(as: Tenant("tenant-\(UInt(bitPattern: ObjectIdentifier(self).hashValue))")!)
  }
}
