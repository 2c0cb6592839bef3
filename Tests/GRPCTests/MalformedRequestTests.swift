import Testing

@testable import RPC

/// Requests that are malformed by HTTP/2, on a connection: each fails its own stream (RFC 9113, section 8.1.1).
struct MalformedRequestTests {
  private static let protocolError: UInt32 = 1
  private static let right = [
    (":method", "POST"), (":scheme", "http"), (":path", "/a/B"), (":authority", "test"), ("te", "trailers"),
  ]

  /// Another stream of the connection is served.
  private func expectServed(_ stage: inout SessionStage, on stream: Int) {
    stage.client.open("/a/B", on: stream)
    stage.client.endSending(on: stream)
    stage.move()
    stage.session.respond(on: StreamID(stream), HTTP2Headers(.grpcResponse), isLast: false)
    stage.session.finish(StreamID(stream), HTTP2Headers(.grpcOK))
    stage.move()
    #expect(stage.client.streams[stream]?.code == "0" && stage.client.goAways.isEmpty)
  }

  @Test func requestForThePathOfASocketIsOpened() {
    var stage = SessionStage()
    let headers = Self.right.map { $0.0 == ":authority" ? ($0.0, "/run/p.sock") : $0 }
    stage.client.headers(headers, on: 1, flags: 4)
    stage.move()
    #expect(stage.takeEvents() == ["opened 1"] && stage.headers[1]?.contains(":authority: /run/p.sock") == true)
  }

  @Test(
    arguments: [
      [("x", "y"), (":late", "1")], [("Upper", "1")], [("x", "a\u{0}b")], [("x", "a\r\nb")], [("", "")],
      [("connection", "close")], [("te", "gzip")], [(":path", "/a/B")], [("content-length", "x")],
    ]) func malformedHeadersFailTheirStream(more: [(String, String)])
  {
    var stage = SessionStage()
    stage.client.headers(Self.right + more, on: 1, flags: 4)
    stage.client.send([1, 2, 3], on: 1)
    stage.move()
    #expect(stage.client.streams[1]?.reset == Self.protocolError && stage.takeEvents() == ["closed 1"])
    expectServed(&stage, on: 3)
  }

  @Test(arguments: 0..<4) func missingHeadersFailTheirStream(missing: Int) {
    var stage = SessionStage()
    var headers = Self.right
    headers.remove(at: missing)
    for flags: UInt8 in [4, 5] { stage.client.headers(headers, on: flags == 4 ? 1 : 3, flags: flags) }
    stage.move()
    for stream in [1, 3] { #expect(stage.client.streams[stream]?.reset == Self.protocolError, "\(stream)") }
    #expect(stage.takeEvents() == ["closed 1", "closed 3"])
    expectServed(&stage, on: 5)
  }

  @Test(arguments: [([(":path", "/")], 5), ([("Upper", "1")], 5), ([("x", "y")], 4)] as [([(String, String)], UInt8)])
  func malformedTrailersFailTheirStream(trailers: [(String, String)], flags: UInt8) {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1)
    stage.client.send([1], on: 1, end: false)
    stage.client.headers(trailers, on: 1, flags: flags)
    stage.move()
    #expect(stage.client.streams[1]?.reset == Self.protocolError)
    #expect(stage.takeEvents() == ["opened 1", "data 1", "closed 1"])
    expectServed(&stage, on: 3)
  }

  @Test func contentOfTheLengthToldIsTaken() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1, [("content-length", "8")])
    stage.client.send([1, 2, 3], on: 1)
    stage.client.open("/a/B", on: 3, [("content-length", "8")])
    stage.client.send([1, 2, 3], on: 3, end: false)
    stage.client.headers([("x", "y")], on: 3, flags: 5)
    stage.move()
    #expect(stage.takeEvents() == ["opened 1", "data 1", "ended 1", "opened 3", "data 3", "ended 3"])
  }

  @Test func shorterContentThanToldFailsItsStream() {
    var stage = SessionStage()
    stage.client.open("/a/B", on: 1, [("content-length", "9")])
    stage.client.send([1, 2, 3], on: 1)
    stage.client.open("/a/B", on: 3, [("content-length", "9")])
    stage.client.send([1, 2, 3], on: 3, end: false)
    stage.client.headers([("x", "y")], on: 3, flags: 5)
    stage.move()
    for stream in [1, 3] { #expect(stage.client.streams[stream]?.reset == Self.protocolError, "\(stream)") }
    #expect(stage.takeEvents() == ["opened 1", "data 1", "opened 3", "data 3", "closed 1", "closed 3"])
    expectServed(&stage, on: 5)
  }

  /// What was refused does not use up the connection's window.
  @Test func longerContentThanToldFailsItsStreamAlone() {
    var stage = SessionStage()
    for stream in stride(from: 1, to: 200, by: 2) {
      stage.client.open("/a/B", on: stream, [("content-length", "10")])
      stage.client.send([UInt8](repeating: 0, count: 100_000), on: stream)
      stage.move()
      #expect(stage.client.streams[stream]?.reset == Self.protocolError && stage.data[StreamID(stream)] == nil)
    }
    #expect(stage.client.window > 1_000_000)
    expectServed(&stage, on: 201)
  }
}
