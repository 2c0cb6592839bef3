import Core
import Messages
import NIOCore
import Testing

@testable import Bench
@testable import RPC

/// The harness's side of HTTP/2, against the server's, by bytes and without sockets.
struct GRPCClientSessionTests {
  private func message(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 % 251) } }

  // MARK: Calls

  @Test func callIsHeadersAndAMessageThatEndsItsStream() {
    var stage = ClientStage()
    #expect(stage.call(0, message(600)) == 1 && stage.call(1, []) == 3)
    stage.move()
    #expect(
      stage.requests[1]?.headers == [":method: POST", ":scheme: http", ":path: /a/B", ":authority: test", "x: 0"])
    #expect(stage.requests[3]?.headers.last == "x: 1")
    #expect(stage.requests[1]?.bytes == GRPCMessageDecoder.encode(message(600), compression: nil))
    #expect(stage.requests[3]?.bytes == [0, 0, 0, 0, 0])
    #expect(stage.requests.values.allSatisfy { $0.isEnded })
  }

  @Test func settingsTellHowManyCallsTheServerTakes() {
    var stage = ClientStage(HTTP2Limits(streamsMax: 70))
    stage.move()
    #expect(stage.takeEvents() == ["settings 70"])
  }

  @Test func largeMessagesWaitForTheWindows() {
    var stage = ClientStage()
    stage.returnsWindows = false
    stage.move()
    for request in 0..<3 { _ = stage.call(request, message(600_000 + request)) }
    _ = stage.call(3, message(10))
    stage.move()
    #expect(stage.requests[1]?.bytes.count == 256 * 1024 && stage.requests[7]?.isEnded == true)
    stage.returnsWindows = true
    for stream: StreamID in [1, 3, 5] {
      stage.server.consume(256 * 1024, of: stream)
      stage.server.consumeOfConnection(256 * 1024)
    }
    stage.move()
    for (request, stream) in [StreamID(1), 3, 5].enumerated() {
      let expected = GRPCMessageDecoder.encode(message(600_000 + request), compression: nil)
      #expect(stage.requests[stream]?.bytes == expected && stage.requests[stream]?.isEnded == true)
    }
  }

  @Test func callBeforeTheServersSettingsGoesAsFarAsTheWindowsOfHTTP2() {
    var stage = ClientStage()
    _ = stage.call(0, message(200_000))
    stage.move()
    #expect(stage.requests[1]?.bytes == GRPCMessageDecoder.encode(message(200_000), compression: nil))
  }

  @Test func callsBeyondTheLimitOfTheServerWait() {
    var stage = ClientStage(HTTP2Limits(streamsMax: 2))
    stage.move()
    for request in 0..<4 { _ = stage.call(request, [UInt8(request)]) }
    stage.move()
    #expect(stage.requests.keys.sorted() == [1, 3])
    for stream: StreamID in [1, 3] { stage.answer(stream) }
    stage.move()
    for (request, stream) in [StreamID(1), 3, 5, 7].enumerated() {
      #expect(stage.requests[stream]?.headers.last == "x: \(request)")
      #expect(stage.requests[stream]?.bytes == [0, 0, 0, 0, 1, UInt8(request)])
    }
  }

  // MARK: Outcomes

  @Test func messageAndStatusAreTold() {
    var stage = ClientStage()
    _ = stage.call(0, [1])
    stage.move()
    stage.answer(1, message(100_000))
    stage.move()
    #expect(stage.takeEvents() == ["settings 1024", "message 1", "succeeded 1"])
    #expect(stage.answers[1] == message(100_000))
  }

  @Test func errorsAreToldByTheirTrailers() {
    var stage = ClientStage()
    for request in 0..<4 { _ = stage.call(request, []) }
    stage.move()
    _ = stage.takeEvents()
    var headers = HTTP2Headers(.grpcResponse)
    headers.add("grpc-status", "8")
    headers.add("grpc-message", "full%3A 100%25 of %C3%A9")
    stage.server.respond(on: 1, headers, isLast: true)
    stage.server.respond(on: 3, HTTP2Headers(.grpcResponse), isLast: false)
    stage.server.send([0], on: 3, isTold: false)
    var trailers = HTTP2Headers()
    trailers.add("grpc-status", "77")
    stage.server.finish(3, trailers)
    var refused = HTTP2Headers()
    refused.add(":status", "415")
    stage.server.respond(on: 5, refused, isLast: true)
    stage.server.reset(7, .refusedStream)
    stage.move()
    let events = stage.takeEvents()
    #expect(events.contains("failed 1 resourceExhausted: full: 100% of é"))
    #expect(events.contains("failed 3 unknown: "))
    #expect(events.contains("failed 5 unknown: the answer ended with HTTP status 415 and without a grpc-status"))
    #expect(events.contains("closed 7 7") && stage.client.takesCalls)
  }

  @Test func pingIsAnswered() {
    var stage = ClientStage()
    stage.server.ping(77)
    stage.move()
    #expect(stage.acknowledgedPings == [77])
  }

  @Test func serverThatGoesAwayAnswersWhatItTook() {
    var stage = ClientStage()
    for request in 0..<2 { _ = stage.call(request, []) }
    stage.move()
    stage.server.end(last: 1)
    stage.move()
    #expect(stage.takeEvents().suffix(2) == ["going away", "closed 3 7"])
    #expect(!stage.client.takesCalls && !stage.client.isFinished && stage.call(0, []) == nil)
    stage.answer(1)
    stage.move()
    #expect(stage.takeEvents() == ["message 1", "succeeded 1"] && stage.client.isFinished)
  }

  @Test func messageOfAStreamThatIsGoneIsNotSent() {
    var stage = ClientStage()
    stage.returnsWindows = false
    stage.move()
    _ = stage.call(0, message(600_000))
    stage.move()
    stage.server.reset(1, .refusedStream)
    stage.server.consumeOfConnection(256 * 1024)
    stage.move()
    #expect(stage.takeEvents().last == "closed 1 7" && stage.requests[1]?.bytes.count == 256 * 1024)
    _ = stage.call(1, [1])
    stage.move()
    #expect(stage.requests[3]?.isEnded == true)
  }

  @Test func otherBytesThanHTTP2EndIt() {
    let client = GRPCClientSession(RequestFields([]))
    Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8).withUnsafeBytes { client.receive($0) { _ in } }
    var output = ByteBuffer()
    client.send(to: &output)
    #expect(client.isFinished && !client.takesCalls)
  }

  @Test func windowOfTheConnectionIsGivenBack() {
    var stage = ClientStage()
    stage.move()
    // 96 MiB, through a window of 64.
    for round in 0..<24 {
      let stream = StreamID(2 * round + 1)
      #expect(stage.call(0, []) == stream)
      stage.move()
      stage.answer(stream, message(4 << 20))
      stage.move()
      #expect(stage.answers.removeValue(forKey: stream)?.count == 4 << 20)
    }
    #expect(stage.server.queuedBytes == 0)
  }
}
