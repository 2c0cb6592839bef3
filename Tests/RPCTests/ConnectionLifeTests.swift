import Core
import Testing

@testable import RPC

struct ConnectionLifeTests {
  private let start = ContinuousClock.now

  private func life(keepalive: Int64 = 60, timeout: Int64 = 20, age: Int64? = nil, idle: Int64? = nil) -> ConnectionLife
  {
    var configuration = GRPCConnectionConfiguration()
    (configuration.keepaliveSeconds, configuration.keepaliveTimeoutSeconds) = (keepalive, timeout)
    (configuration.ageSecondsMax, configuration.idleSecondsMax) = (age, idle)
    return ConnectionLife(configuration, at: start)
  }

  private func isPing(_ action: ConnectionLife.Action?) -> Bool {
    if case .ping = action { true } else { false }
  }

  /// The PING that the end was announced with.
  private func announcement(_ action: ConnectionLife.Action?) -> UInt64? {
    if case .announceEnd(let data) = action { data } else { nil }
  }

  @Test func peerThatAcknowledgesNoKeepalivePingIsClosed() {
    var life = life()
    #expect(life.look(reads: 1, streams: 1, streamsEver: 1, at: start) == nil)
    #expect(life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(59)) == nil)
    #expect(isPing(life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(60))))
    #expect(life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(79)) == nil)
    #expect(
      life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(80))
        == .close(reason: "the peer did not acknowledge the keepalive ping"))
  }

  @Test func peerThatAcknowledgesIsPingedAgainWhenItIsIdleAgain() {
    var life = life()
    _ = life.look(reads: 1, streams: 1, streamsEver: 1, at: start)
    #expect(isPing(life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(60))))
    #expect(life.look(reads: 2, streams: 1, streamsEver: 1, at: start + .seconds(65)) == nil)
    #expect(life.look(reads: 2, streams: 1, streamsEver: 1, at: start + .seconds(124)) == nil)
    #expect(isPing(life.look(reads: 2, streams: 1, streamsEver: 1, at: start + .seconds(125))))
  }

  @Test func ageEndsItInSteps() throws {
    var life = life(age: 10)
    #expect(life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(9)) == nil)
    let ping = try #require(announcement(life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(10))))
    #expect(!life.isEnding)
    // The acknowledgement of another PING says nothing of it.
    #expect(life.acknowledged(~ping) == nil)
    #expect(life.acknowledged(ping) == .end)
    #expect(life.isEnding)
    #expect(life.acknowledged(ping) == nil)
    #expect(life.look(reads: 2, streams: 1, streamsEver: 1, at: start + .seconds(40)) == nil)
    #expect(life.isEnding)
  }

  @Test func endHasItsTimeWhetherThePeerTakesPartOrNot() throws {
    for takesPart in [false, true] {
      var life = life(age: 10)
      let ping = try #require(announcement(life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(10))))
      if takesPart {
        #expect(life.acknowledged(ping) == .end)
      } else {
        let late = start + .seconds(10 + Limits.goAwaySecondsMax)
        #expect(life.look(reads: 2, streams: 1, streamsEver: 1, at: late) == .end)
      }
      let last = start + .seconds(10 + Limits.callSecondsMax + Limits.goAwaySecondsMax)
      #expect(life.look(reads: 2, streams: 1, streamsEver: 1, at: last - .seconds(1)) == nil)
      #expect(life.look(reads: 3, streams: 1, streamsEver: 1, at: last) == .close(reason: "its end took too long"))
    }
  }

  @Test func peerIsSentKeepalivePingsWhileItsConnectionEnds() throws {
    var life = life(keepalive: 5, timeout: 5, age: 10)
    _ = life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(9))
    let ping = try #require(announcement(life.look(reads: 1, streams: 1, streamsEver: 1, at: start + .seconds(10))))
    #expect(life.acknowledged(ping) == .end)
    #expect(life.look(reads: 2, streams: 1, streamsEver: 1, at: start + .seconds(11)) == nil)
    #expect(isPing(life.look(reads: 2, streams: 1, streamsEver: 1, at: start + .seconds(16))))
  }

  @Test func onlyTimeWithoutStreamsIsIdle() {
    var life = life(idle: 10)
    #expect(life.look(reads: 1, streams: 0, streamsEver: 0, at: start) == nil)
    #expect(life.look(reads: 2, streams: 1, streamsEver: 1, at: start + .seconds(9)) == nil)
    #expect(life.look(reads: 3, streams: 0, streamsEver: 1, at: start + .seconds(15)) == nil)
    // A call that came and went between two looks.
    #expect(life.look(reads: 4, streams: 0, streamsEver: 2, at: start + .seconds(24)) == nil)
    #expect(life.look(reads: 5, streams: 0, streamsEver: 2, at: start + .seconds(33)) == nil)
    #expect(announcement(life.look(reads: 5, streams: 0, streamsEver: 2, at: start + .seconds(34))) != nil)
  }

  @Test func peerThatDoesNotSayThatItKnowsHasNoFurtherStreamsTaken() {
    var life = life()
    _ = life.drain(at: start)
    let late = start + .seconds(Limits.goAwaySecondsMax)
    #expect(life.look(reads: 1, streams: 1, streamsEver: 1, at: late - .milliseconds(1)) == nil)
    #expect(!life.isEnding)
    #expect(life.look(reads: 1, streams: 1, streamsEver: 1, at: late) == .end)
    #expect(life.isEnding)
  }

  @Test func drainAnnouncesTheEndOnce() {
    var life = life()
    #expect(announcement(life.drain(at: start)) != nil)
    #expect(life.drain(at: start) == nil)
  }
}
