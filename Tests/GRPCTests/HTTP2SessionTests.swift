import Core
import NIOCore
import Testing

@testable import RPC

/// HTTP/2 as the server speaks it, by bytes and without sockets.
struct HTTP2SessionTests {
  private let noError: UInt32 = 0
  private let enhanceYourCalm: UInt32 = 11

  private func okay(_ stage: SessionStage, on stream: StreamID, _ body: [UInt8] = [1, 2, 3], isTold: Bool = false) {
    stage.session.respond(on: stream, HTTP2Headers(.grpcResponse), isLast: false)
    stage.session.send(body, on: stream, isTold: isTold)
    stage.session.finish(stream, HTTP2Headers(.grpcOK))
  }

  // MARK: Requests

  @Test func requestIsToldInItsParts() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1, [("x", "y")])
    stage.client.send([7, 8], on: 1)
    stage.move()
    #expect(stage.takeEvents() == ["opened 1", "data 1", "ended 1"])
    #expect(stage.data[1] == [0, 0, 0, 0, 2, 7, 8])
    #expect(stage.headers[1]?.contains(":path: /a/B") == true && stage.headers[1]?.last == "x: y")
  }

  /// Wherever the bytes are cut, and however many requests they are.
  @Test(arguments: [1, 2, 7, 100, 9000]) func requestsAreTheSameHoweverTheirBytesCome(size: Int) {
    var stage = SessionStage()
    for stream in 0..<20 {
      stage.client.open(
        "/a/B", on: 2 * stream + 1, [("number", "\(stream)"), ("large", String(repeating: "x", count: 900))])
      stage.client.send([UInt8(stream)], on: 2 * stream + 1)
    }
    let bytes = stage.client.takeOutgoing()
    for start in stride(from: 0, to: bytes.count, by: size) {
      stage.receive(Array(bytes[start..<min(start + size, bytes.count)]))
    }
    for stream in 0..<20 {
      let id = StreamID(2 * stream + 1)
      #expect(stage.headers[id]?.contains("number: \(stream)") == true && stage.headers[id]?.count == 8)
      #expect(stage.data[id] == [0, 0, 0, 0, 1, UInt8(stream)])
    }
  }

  @Test func trailersOfARequestEndIt() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    stage.client.headers([("x-trailer", "1")], on: 1, flags: 5)
    stage.move()
    #expect(stage.takeEvents() == ["opened 1", "ended 1"])
  }

  @Test func resetOfThePeerClosesItsStream() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    stage.move()
    stage.session.respond(on: 1, HTTP2Headers(.grpcResponse), isLast: false)
    stage.session.send([UInt8](repeating: 0, count: 100), on: 1, isTold: true)
    #expect(stage.session.queuedBytes == 100)
    stage.client.reset(1)
    stage.receive(stage.client.takeOutgoing())
    #expect(stage.takeEvents() == ["opened 1", "closed 1"] && stage.session.queuedBytes == 0)
    // What comes for it is dropped.
    stage.session.send([1], on: 1, isTold: true)
    stage.session.finish(1, HTTP2Headers(.grpcOK))
    stage.move()
    #expect(stage.session.queuedBytes == 0 && stage.client.streams[1]?.isEnded != true)
  }

  // MARK: Responses

  @Test func responseIsHeadersBodyAndTrailers() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    stage.client.endSending(on: 1)
    stage.move()
    okay(stage, on: 1)
    stage.move()
    let received = stage.client.streams[1]
    #expect(received?.dataBytes == 3 && received?.code == "0" && received?.isEnded == true && received?.reset == nil)
    #expect(stage.takeEvents() == ["opened 1", "ended 1", "closed 1"])
  }

  @Test func responseOfHeadersAloneEndsItsStream() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    stage.client.endSending(on: 1)
    stage.move()
    var headers = HTTP2Headers(.grpcResponse)
    headers.add("grpc-status", "5")
    headers.add("empty", "")
    stage.session.respond(on: 1, headers, isLast: true)
    stage.move()
    #expect(stage.client.streams[1]?.code == "5" && stage.client.streams[1]?.isEnded == true)
  }

  @Test func peerThatStillSendsIsToldThatNobodyListens() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    stage.move()
    okay(stage, on: 1)
    stage.move()
    #expect(stage.client.streams[1]?.isEnded == true && stage.client.streams[1]?.reset == noError)
    // What it had sent before it knew harms nobody.
    stage.client.send([1], on: 1)
    stage.move()
    #expect(stage.client.goAways.isEmpty && stage.session.failure == nil)
  }

  @Test func piecesAreSentAsTheyCome() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    stage.move()
    stage.session.respond(on: 1, HTTP2Headers(.grpcResponse), isLast: false)
    stage.move()
    for count in 1...3 {
      stage.session.send([1], on: 1, isTold: true)
      stage.move()
      #expect(stage.client.streams[1]?.dataBytes == count)
    }
    stage.session.finish(1, HTTP2Headers(.grpcOK))
    stage.move()
    #expect(stage.client.streams[1]?.code == "0")
    #expect(stage.takeEvents() == ["opened 1", "taken 1", "taken 1", "taken 1", "closed 1"])
  }

  @Test func bodyWaitsForTheWindowAndItsTrailersForTheBody() {
    var stage = SessionStage(client: RawHTTP2Peer(windowBytes: 0))
    stage.client.open("/a/B", on: 1)
    stage.client.endSending(on: 1)
    stage.move()
    okay(stage, on: 1, [UInt8](repeating: 0, count: 10), isTold: true)
    stage.move()
    #expect(stage.session.queuedBytes == 10 && stage.session.waitingStreams == 1)
    #expect(stage.client.streams[1]?.code == nil && stage.session.takenBytes == 0)
    stage.client.widenWindow(of: 1, by: 4)
    stage.move()
    #expect(stage.client.streams[1]?.dataBytes == 4 && stage.session.queuedBytes == 6)
    #expect(!stage.events.contains("taken 1"))
    stage.client.widenWindow(of: 1, by: 6)
    stage.move()
    #expect(stage.client.streams[1]?.code == "0" && stage.session.waitingStreams == 0)
    #expect(stage.takeEvents().suffix(2) == ["taken 1", "closed 1"])
  }

  @Test func outputComesInPiecesOfTheSizeAskedFor() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    stage.move()
    okay(stage, on: 1, [UInt8](repeating: 0, count: 500_000))
    var sizes: [Int] = []
    while stage.session.fill(bytesMax: 65_536, { sizes.append($0.readableBytes) }) {}
    #expect(sizes.allSatisfy { $0 < 65_536 + 16_400 } && sizes.reduce(0, +) > 500_000 && sizes.count > 5)
  }

  // MARK: Windows

  @Test func windowOfAStreamIsGivenBackWhenItsBytesWereTaken() {
    var stage = SessionStage()
    stage.returnsWindows = false
    stage.client.open("/a/B", on: 1)
    stage.client.send([UInt8](repeating: 0, count: 600_000), on: 1)
    stage.move()
    let first = stage.data[1]?.count ?? 0
    #expect((230_000...262_144).contains(first))
    // Less than half of it is not worth a frame.
    stage.session.consume(100_000, of: 1)
    stage.move()
    #expect(stage.data[1]?.count == first)
    stage.session.consume(100_000, of: 1)
    stage.move()
    let second = stage.data[1]?.count ?? 0
    #expect((first + 180_000...first + 200_000).contains(second))
    stage.session.consume(second - 200_000, of: 1)
    stage.move()
    #expect(stage.data[1]?.count == 600_005 && stage.events.last == "ended 1")
  }

  @Test func windowOfTheConnectionIsGivenBackWhenItsBytesWereTaken() {
    var stage = SessionStage()
    stage.returnsWindows = false
    for stream in stride(from: 1, to: 60, by: 2) {
      stage.client.open("/a/B", on: stream)
      stage.client.send([UInt8](repeating: 0, count: 200_000), on: stream)
    }
    stage.move()
    let first = stage.data.values.reduce(0) { $0 + $1.count }
    #expect((4_100_000...4 << 20).contains(first))
    stage.session.consumeOfConnection(first)
    stage.move()
    #expect(stage.data.values.reduce(0) { $0 + $1.count } > first + 1_500_000)
  }

  @Test func peerThatSendsPastAWindowFails() {
    var stage = SessionStage()
    stage.returnsWindows = false
    stage.client.open("/a/B", on: 1)
    stage.move()
    for _ in 0..<20 { stage.client.frame(0, on: 1, [UInt8](repeating: 0, count: 16_384)) }
    stage.move()
    let flowControlError: UInt32 = 3
    #expect(stage.client.streams[1]?.reset == flowControlError || stage.client.goAwayCodes == [flowControlError])
  }

  // MARK: What no honest peer does

  @Test func headersPastTheLimitFailTheirStreamAlone() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1, (0..<30).map { ("x-\($0)", String(repeating: "x", count: 3000)) })
    stage.client.open("/a/B", on: 3)
    stage.client.endSending(on: 3)
    stage.move()
    #expect(stage.client.streams[1]?.reset == enhanceYourCalm)
    #expect(stage.takeEvents() == ["opened 3", "ended 3", "closed 1"] && stage.headers[3]?.count == 6)
    okay(stage, on: 3)
    stage.move()
    #expect(stage.client.streams[3]?.code == "0")
  }

  @Test func continuationsWithoutEndEndTheConnection() {
    var stage = SessionStage()
    stage.client.headers([(":method", "POST")], on: 1, flags: 0)
    for _ in 0..<20 { stage.client.frame(9, on: 1, []) }
    stage.move()
    #expect(stage.session.isFinished)
  }

  @Test(arguments: ["ping", "settings", "empty", "priority"]) func floodOfControlFramesEndsTheConnection(kind: String) {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    func flood(_ count: Int) {
      for _ in 0..<count {
        switch kind {
        case "ping": stage.client.frame(6, on: 0, [UInt8](repeating: 1, count: 8))
        case "settings": stage.client.frame(4, on: 0, [])
        case "empty": stage.client.frame(0, on: 1, [])
        default: stage.client.frame(2, on: 1, [0, 0, 0, 0, 7])
        }
      }
      stage.move()
    }
    flood(2900)
    #expect(!stage.session.isFinished && stage.client.goAways.isEmpty)
    // The next half minute is another.
    stage.now += .seconds(31)
    flood(2900)
    #expect(!stage.session.isFinished)
    flood(3000)
    #expect(stage.session.isFinished && stage.client.goAwayCodes == [enhanceYourCalm])
  }

  @Test func floodOfResetsEndsTheConnection() {
    var stage = SessionStage()
    func flood(from first: Int, _ count: Int) {
      for number in first..<first + count {
        stage.client.open("/a/B", on: 2 * number + 1)
        stage.client.reset(2 * number + 1)
      }
      stage.move()
    }
    flood(from: 0, 1900)
    #expect(!stage.session.isFinished)
    flood(from: 1900, 300)
    #expect(stage.session.isFinished && stage.client.goAwayCodes == [enhanceYourCalm])
  }

  @Test func streamsBeyondTheAnnouncedAreRefused() {
    var stage = SessionStage(HTTP2Limits(streamsMax: 10), client: RawHTTP2Peer(acknowledgesSettings: false))
    for number in 0..<11 { stage.client.open("/a/B", on: 2 * number + 1) }
    stage.move()
    #expect(stage.client.streams[21]?.reset == RawHTTP2Peer.refusedStream && stage.events.count == 10)
  }

  @Test func bytesThatAreNoHTTP2EndTheConnection() {
    let session = HTTP2Session()
    Array("GET / HTTP/1.1\r\n\r\n".utf8).withUnsafeBytes { session.receive($0, at: .now) { _ in } }
    #expect(session.isFinished && session.failure != nil)
  }

  // MARK: Its end

  @Test func endIsAnnouncedAndThenTold() {
    var stage = SessionStage()
    stage.session.announceEnd()
    stage.session.ping(77)
    stage.client.open("/a/B", on: 1)
    stage.move()
    #expect(stage.client.goAways == [RawHTTP2Peer.noLastStream])
    #expect(stage.takeEvents() == ["opened 1", "acknowledged 77"])
    okay(stage, on: 1)
    stage.client.endSending(on: 1)
    stage.move()
    stage.session.end(last: 1)
    stage.move()
    #expect(stage.client.goAways == [RawHTTP2Peer.noLastStream, 1] && stage.session.isFinished)
    #expect(stage.client.goAwayCodes == [noError, noError])
  }

  @Test func closedSessionDoesNothing() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    stage.move()
    stage.session.close()
    okay(stage, on: 1)
    stage.session.ping(1)
    stage.session.announceEnd()
    stage.session.end(last: 1)
    stage.session.reset(1, .refusedStream)
    stage.session.consume(1, of: 1)
    stage.session.consumeOfConnection(1)
    stage.client.open("/a/B", on: 3)
    stage.move()
    #expect(stage.session.isFinished && !stage.session.wantsWrite && stage.takeEvents() == ["opened 1"])
  }

  /// A handler may do so within an event, though more have come.
  @Test func sessionIsClosedWithinAnEvent() {
    var stage = SessionStage()
    for stream in [1, 3, 5] { stage.client.open("/a/B", on: stream) }
    let session = stage.session
    var opened = 0
    stage.client.takeOutgoing().withUnsafeBytes { bytes in
      session.receive(bytes, at: .now) { event in
        if case .opened = event { opened += 1 }
        session.close()
      }
    }
    #expect(opened <= 3 && session.isFinished)
  }
}
