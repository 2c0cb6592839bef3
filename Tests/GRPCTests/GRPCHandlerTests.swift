import Core
import Messages
import NIOCore
import NIOEmbedded
import Testing

@testable import RPC

/// One gRPC connection, step by step and without sockets.
struct GRPCHandlerTests {
  // MARK: Calls

  @Test func callIsAnsweredWithMessageAndTrailers() throws {
    let stage = try HandlerStage()
    stage.call("Wait", on: 1)
    stage.move()
    #expect(!stage.received(on: 1).isEnded)
    stage.methods.answer(0, [1, 2, 3])
    stage.move()
    #expect(stage.received(on: 1).code == "0" && stage.received(on: 1).isEnded)
    #expect(stage.received(on: 1).dataBytes == 8)
  }

  @Test func callsAreAnsweredInTheOrderTheirAnswersCome() throws {
    let stage = try HandlerStage()
    for stream in [1, 3, 5] { stage.call("Wait", on: stream) }
    stage.move()
    stage.methods.answer(1)
    stage.move()
    #expect([1, 3, 5].map { stage.received(on: $0).isEnded } == [false, true, false])
    stage.methods.answer(2)
    stage.methods.answer(0)
    stage.move()
    #expect([1, 3, 5].allSatisfy { stage.received(on: $0).code == "0" })
  }

  @Test func callBeginsWhenItsRequestEnds() throws {
    let stage = try HandlerStage()
    stage.call("Wait", on: 1, [7], end: false)
    stage.move()
    #expect(stage.methods.waiting.isEmpty)
    stage.client.endSending(on: 1)
    stage.move()
    #expect(stage.methods.waiting.count == 1)
  }

  @Test func resetGivesTheCallUpAndItsLateAnswerIsDropped() throws {
    let stage = try HandlerStage()
    stage.call("Wait", on: 1)
    stage.move()
    stage.client.reset(1)
    stage.move()
    #expect(stage.methods.givenUp == 1)
    stage.methods.answer(0)
    stage.move()
    #expect(stage.received(on: 1).code == nil && stage.server.isActive)
  }

  @Test func dataOnARefusedStreamIsIgnored() throws {
    let stage = try HandlerStage()
    stage.client.open("/stub/Unknown", on: 1)
    stage.moveToServer()
    stage.client.send([1], on: 1)
    stage.move()
    #expect(stage.received(on: 1).code == "12" && stage.server.isActive)
  }

  @Test func requestThatDoesNotEndIsAnsweredWhenTheLongestCallIsOver() throws {
    let stage = try HandlerStage()
    stage.call("Wait", on: 1, [7], end: false)
    stage.move()
    // It answers the keepalive.
    for _ in 0..<13 { stage.pass(.seconds(5)) }
    #expect(stage.received(on: 1).code == "4" && stage.methods.waiting.isEmpty)
  }

  @Test func lostConnectionGivesItsCallsUp() throws {
    let stage = try HandlerStage()
    for stream in [1, 3] { stage.call("Wait", on: stream) }
    stage.move()
    stage.server.close(promise: nil)
    stage.loop.run()
    #expect(stage.methods.givenUp == 2)
    stage.methods.answer(0)
    stage.loop.run()
  }

  // MARK: Before the client has acknowledged the server's SETTINGS

  @Test func largeHeadersFailTheirCallAlone() throws {
    let stage = try HandlerStage(client: RawHTTP2Peer(acknowledgesSettings: false))
    stage.call("Wait", on: 1)
    stage.client.open("/stub/Wait", on: 3, [("x-large", String(repeating: "x", count: 40_000))])
    stage.move()
    #expect(stage.received(on: 3).code == "3" && stage.server.isActive)
    stage.client.acknowledgeSettings()
    stage.call("Wait", on: 5)
    stage.move()
    for number in 0..<2 { stage.methods.answer(number) }
    stage.move()
    #expect([1, 5].allSatisfy { stage.received(on: $0).code == "0" })
  }

  @Test func asManyStreamsAsAreAnnouncedAreTaken() throws {
    let stage = try HandlerStage(client: RawHTTP2Peer(acknowledgesSettings: false))
    for number in 0..<Limits.callsInFlightPerConnectionMax { stage.call("Wait", on: 2 * number + 1) }
    stage.move()
    #expect(stage.methods.waiting.count == Limits.callsInFlightPerConnectionMax && stage.server.isActive)
  }

  /// Wherever the bytes are cut.
  @Test func acknowledgementIsTakenOnceHoweverItComes() throws {
    for size in 1...40 {
      let stage = try HandlerStage(client: RawHTTP2Peer(acknowledgesSettings: false), begins: false)
      stage.client.acknowledgeSettings()
      stage.call("Wait", on: 1, [1, 2, 3])
      let bytes = stage.client.takeOutgoing()
      for start in stride(from: 0, to: bytes.count, by: size) {
        try stage.server.writeInbound(ByteBuffer(bytes: bytes[start..<min(start + size, bytes.count)]))
      }
      stage.move()
      #expect(stage.methods.waiting.count == 1 && stage.server.isActive, "pieces of \(size)")
    }
  }

  // MARK: Its end

  @Test func drainAnswersWhatIsUnderWayAndRefusesWhatComesLate() throws {
    let stage = try HandlerStage()
    stage.call("Wait", on: 1)
    stage.move()
    stage.quiesce()
    stage.move()
    #expect(stage.client.goAways == [RawHTTP2Peer.noLastStream])
    // The client had not read of it, or does not care.
    stage.call("Wait", on: 3)
    stage.move()
    #expect(stage.received(on: 3).reset == RawHTTP2Peer.refusedStream)
    #expect(stage.methods.waiting.count == 1 && stage.server.isActive)
    stage.methods.answer(0, [1])
    stage.move()
    #expect(stage.received(on: 1).code == "0" && stage.received(on: 1).isEnded)
    #expect(stage.client.goAways == [RawHTTP2Peer.noLastStream, 1] && !stage.server.isActive)
  }

  @Test func streamsOpenedBeforeThePeerKnowsOfTheDrainAreServed() throws {
    let stage = try HandlerStage()
    stage.quiesce()
    stage.loop.run()
    // Sent before the GOAWAY has come.
    stage.call("Wait", on: 1)
    stage.moveToServer()
    stage.move()
    #expect(stage.methods.waiting.count == 1)
    stage.methods.answer(0)
    stage.move()
    #expect(stage.received(on: 1).code == "0" && !stage.server.isActive)
    #expect(stage.client.goAways == [RawHTTP2Peer.noLastStream, 1])
  }

  @Test func idleConnectionEndsAsSoonAsThePeerKnows() throws {
    let stage = try HandlerStage()
    stage.quiesce()
    stage.move()
    #expect(stage.client.goAways == [RawHTTP2Peer.noLastStream, 0] && !stage.server.isActive)
  }

  @Test func requestsThatHaveBegunAreRefusedWhereTheServerHasNoRoom() throws {
    let stage = try HandlerStage(requests: RequestMemory(strangerBytesMax: 1 << 20))
    let large = [UInt8](repeating: 0, count: 600_000)
    for stream in [1, 3] {
      stage.call("Wait", on: stream, large, end: false)
      stage.move()
    }
    #expect(stage.received(on: 3).code == "8" && stage.received(on: 1).code == nil)
    // What the first held is free again when it is under way.
    stage.client.endSending(on: 1)
    stage.move()
    stage.call("Wait", on: 5, large)
    stage.move()
    #expect(stage.methods.waiting.count == 2)
  }

  @Test func connectionIsNotIdleWhileACallIsUnderWay() throws {
    let stage = try HandlerStage()
    stage.connection.authenticated(as: Tenant("acme")!)
    stage.call("Wait", on: 1)
    // The peer answers PINGs, and does nothing else.
    func pass(_ seconds: Int64) { for _ in 0..<seconds / 5 { stage.pass(.seconds(5)) } }
    pass(50)
    stage.methods.answer(0)
    pass(Limits.knownIdleSecondsMin - 10)
    #expect(!stage.makesRoom(), "since the call ended, not since it began")
    pass(15)
    #expect(stage.makesRoom())
  }

  @Test func streamsThatComeAndGoDoNotExcuseAResponseThatIsNotRead() throws {
    let stage = try HandlerStage(client: RawHTTP2Peer(windowBytes: 0))
    stage.call("Wait", on: 1)
    stage.move()
    stage.methods.answer(0, [1, 2, 3])
    for number in 1...7 {
      stage.pass(.seconds(10))
      // Its response needs no window.
      stage.call("Unknown", on: 1 + 2 * number)
      stage.move()
    }
    #expect(!stage.server.isActive)
  }

  @Test func peerThatAnswersNoPingHoldsTheDrainForItsBoundOnly() throws {
    let stage = try HandlerStage()
    stage.call("Wait", on: 1)
    stage.move()
    stage.methods.answer(0)
    stage.move()
    stage.quiesce()
    // What the server sends is not read.
    stage.loop.advanceTime(by: .seconds(Limits.goAwaySecondsMax) - .milliseconds(1))
    #expect(stage.server.isActive)
    stage.loop.advanceTime(by: .milliseconds(1))
    #expect(!stage.server.isActive)
  }

  @Test func peerThatAnswersNoPingHasItsFurtherCallsRefused() throws {
    let stage = try HandlerStage()
    stage.call("Wait", on: 1)
    stage.move()
    stage.quiesce()
    stage.loop.advanceTime(by: .seconds(Limits.goAwaySecondsMax))
    stage.call("Wait", on: 3)
    stage.moveToServer()
    stage.methods.answer(0)
    stage.move()
    #expect(stage.received(on: 3).reset == RawHTTP2Peer.refusedStream)
    #expect(stage.received(on: 1).code == "0" && stage.client.goAways == [RawHTTP2Peer.noLastStream, 1])
  }

  @Test func agedConnectionEndsAsADrainedOneDoes() throws {
    var grpc = GRPCConnectionConfiguration()
    grpc.ageSecondsMax = 10
    let stage = try HandlerStage(grpc: grpc)
    stage.call("Wait", on: 1)
    stage.move()
    for _ in 0..<5 { stage.pass(.milliseconds(2500)) }
    #expect(stage.client.goAways == [RawHTTP2Peer.noLastStream])
    stage.call("Wait", on: 3)
    stage.move()
    #expect(stage.received(on: 3).reset == RawHTTP2Peer.refusedStream)
    stage.methods.answer(0)
    stage.move()
    #expect(stage.received(on: 1).code == "0" && !stage.server.isActive)
    #expect(stage.client.goAways == [RawHTTP2Peer.noLastStream, 1])
  }

  // MARK: Memory

  @Test func closedConnectionKeepsNothing() throws {
    let stage = try HandlerStage()
    stage.call("Wait", on: 1)
    stage.call("Stream", on: 3, [1, 2], end: false)
    stage.move()
    #expect(stage.received(on: 3).dataBytes == 7)
    #expect(stage.handler != nil)
    stage.server.close(promise: nil)
    stage.loop.run()
    stage.methods.answer(0)
    stage.loop.run()
    // Timers that were set go off and find nothing.
    stage.loop.advanceTime(by: .seconds(120))
    #expect(stage.handler == nil)
  }

  @Test(arguments: [true, false])
  func streamThatEndedKeepsNothing(isReset: Bool) throws {
    let stage = try HandlerStage()
    stage.call("Stream", on: 1, [1, 2], end: false)
    stage.move()
    let inbox = WeakInbox()
    inbox.value = stage.handler?.calls[1]?.inbox
    #expect(inbox.value != nil)
    if isReset {
      stage.client.reset(1)
    } else {
      stage.client.send([3], on: 1)
    }
    stage.move()
    #expect(inbox.value == nil && stage.server.isActive)
  }

  @Test func requestsUnderWayHoldTheConnectionsWindow() throws {
    let stage = try HandlerStage()
    let message = [UInt8](repeating: 0, count: Limits.frameBytesMax - 5)
    var stream = 1
    while stage.methods.waiting.count < Limits.callBytesInFlightPerConnectionMax / Limits.frameBytesMax, stream < 20 {
      stage.call("Wait", on: stream, message)
      stage.move()
      stream += 2
    }
    let begun = stage.methods.waiting.count
    // One window more comes, and no further.
    for _ in 0..<4 {
      stage.call("Wait", on: stream, message)
      stage.move()
      stream += 2
    }
    #expect(stage.methods.waiting.count <= begun + 1)
    for number in 0..<begun { stage.methods.answer(number) }
    stage.move()
    for number in begun..<stage.methods.waiting.count { stage.methods.answer(number) }
    stage.move()
    #expect(stage.methods.waiting.count == begun + 4)
  }

  @Test func unreadResponsesAreCountedUntilTheyAreRead() throws {
    let stage = try HandlerStage(client: RawHTTP2Peer(windowBytes: 100_000))
    stage.call("Wait", on: 1)
    stage.move()
    stage.methods.answer(0, [UInt8](repeating: 0, count: 300_000))
    stage.move()
    // Its window has taken 100,000 bytes of them.
    #expect(stage.responses.bytes >= 200_000)
    stage.client.widenWindow(of: 1, by: 300_000)
    stage.move()
    #expect(stage.received(on: 1).dataBytes == 300_005 && stage.responses.bytes == 0)
  }

  @Test func slowPeerIsWaitedForUntilItTakesNothing() throws {
    let stage = try HandlerStage(client: RawHTTP2Peer(windowBytes: 0))
    stage.call("Wait", on: 1)
    stage.move()
    stage.methods.answer(0, [1, 2])
    // A message of two bytes after its prefix of five.
    for _ in 0..<6 {
      stage.pass(.seconds(50))
      #expect(stage.server.isActive)
      stage.client.widenWindow(of: 1, by: 1)
      stage.move()
    }
    #expect(stage.received(on: 1).dataBytes == 6)
    stage.pass(.seconds(70))
    #expect(!stage.server.isActive)
  }

  @Test func connectionThatFillsTheServersMemoryForResponsesIsClosed() throws {
    let stage = try HandlerStage(responses: ResponseMemory(bytesMax: 400_000), client: RawHTTP2Peer(windowBytes: 0))
    for stream in [1, 3] { stage.call("Wait", on: stream) }
    stage.move()
    stage.methods.answer(0, [UInt8](repeating: 0, count: 300_000))
    stage.move()
    #expect(stage.server.isActive)
    stage.methods.answer(1, [UInt8](repeating: 0, count: 300_000))
    stage.move()
    #expect(!stage.server.isActive && stage.responses.bytes == 0)
  }
}

private final class WeakInbox {
  weak var value: MessageInbox?
}
