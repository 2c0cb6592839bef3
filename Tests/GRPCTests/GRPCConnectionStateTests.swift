import Core
import Messages
import Testing

@testable import RPC

/// A gRPC connection as a value: what its peer and its calls do goes in, what is to be done comes out, and time passes
/// when the test says so.
struct GRPCConnectionStateTests {
  private let start = ContinuousClock.now

  // MARK: Unary calls

  @Test func callBeginsWhenItsRequestEnds() {
    var state = state()
    state.open("Wait", on: 1, at: start)
    state.receive([7, 8], on: 1)
    #expect(state.actions() == [])
    state.ended(1, at: start)
    #expect(state.actions() == ["run 1 Wait [7, 8]"])
  }

  @Test func responseIsHeadersAMessageAndTrailers() {
    var state = state()
    state.call("Wait", on: 1, at: start)
    state.answered(1, Response([5]))
    #expect(
      state.actions() == ["run 1 Wait []", "headers 1 200", "message 1 [0, 0, 0, 0, 1, 5]", "trailers 1 code 0"])
    // It was answered: the end of its stream gives no call up.
    state.closed(1)
    #expect(state.actions() == [] && state.streamCount == 0)
  }

  @Test func errorIsTrailersAlone() {
    var state = state()
    state.call("Wait", on: 1, at: start)
    _ = state.actions()
    state.answered(1, Response(.overloaded("too much")))
    #expect(state.actions() == ["headers 1 200 code 8, last"])
  }

  @Test func metadataOfTheResponseIsSentBeforeAndBehindIt() {
    var state = state()
    state.call("Wait", on: 1, at: start)
    _ = state.actions()
    var response = Response([])
    response.initialMetadata.add("first", "1")
    response.trailingMetadata.add("last", "2")
    state.answered(1, response)
    var sent: [HTTP2Headers] = []
    while let action = state.next() {
      switch action {
      case .send(1, .headers(let headers, _)), .send(1, .trailers(let headers)): sent.append(headers)
      default: break
      }
    }
    #expect(sent.map { $0["first"] } == ["1", nil] && sent.map { $0["last"] } == [nil, "2"])
  }

  @Test func oversizedResponseIsAnError() {
    var state = state()
    state.call("Wait", on: 1, at: start)
    _ = state.actions()
    state.answered(1, Response([UInt8](repeating: 0, count: Limits.frameBytesMax + 1)))
    #expect(state.actions() == ["headers 1 200 code 8, last"])
  }

  @Test func responseIsCompressedAsTheRequestIs() throws {
    for (accepts, isCompressed) in [(nil, true), ("identity,gzip", true), ("identity", false)] as [(String?, Bool)] {
      var state = state()
      let more = [("grpc-encoding", "gzip")] + (accepts.map { [("grpc-accept-encoding", $0)] } ?? [])
      state.open("Wait", on: 1, more, at: start)
      state.receive([1], on: 1)
      state.ended(1, at: start)
      _ = state.actions()
      state.answered(1, Response([UInt8](repeating: 7, count: 5000)))
      var flag: UInt8?
      while let action = state.next() {
        switch action {
        case .send(1, .prefix(let bytes)), .send(1, .message(let bytes)): flag = flag ?? bytes[0]
        default: break
        }
      }
      #expect(flag == (isCompressed ? 1 : 0))
    }
  }

  @Test func resetGivesTheCallUpAndItsLateResponseIsDropped() {
    var state = state()
    state.call("Wait", on: 1, at: start)
    state.closed(1)
    state.answered(1, Response([1]))
    #expect(state.actions() == ["run 1 Wait []", "cancel 1"])
  }

  @Test func callsAreTimedFromTheirBeginning() {
    var state = state()
    state.open("Wait", on: 1, [("grpc-timeout", "10S")], at: start)
    state.receive([], on: 1)
    state.ended(1, at: start + .seconds(3))
    guard case .run(_, _, _, _, let timeout) = state.next() else {
      Issue.record("it has not begun")
      return
    }
    #expect(timeout == .seconds(7))
  }

  @Test func requestThatDoesNotEndIsAnsweredWhenItsTimeIsUp() {
    var state = state()
    state.open("Wait", on: 1, [("grpc-timeout", "10S")], at: start)
    state.open("Wait", on: 3, at: start)
    state.receive([1], on: 3)
    state.look(.init(reads: 1), at: start + .seconds(9))
    #expect(state.actions() == [])
    state.look(.init(reads: 2), at: start + .seconds(10))
    #expect(state.actions() == ["headers 1 200 code 4, last"])
    state.look(.init(reads: 3), at: start + .seconds(Limits.callSecondsMax))
    #expect(state.actions() == ["headers 3 200 code 4, last"])
  }

  // MARK: What is no call

  @Test func whatIsNoGRPCIsRefusedWithItsStatus() {
    var state = state()
    state.open("Wait", on: 1, [("content-type", "application/json")], at: start)
    #expect(state.actions() == ["headers 1 415, last"])
    // What follows on the stream is not looked at.
    state.receive([1], on: 1)
    state.ended(1, at: start)
    #expect(state.actions() == [])
  }

  @Test(
    arguments: [
      ([], "12"), ([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], "12"), ([[0, 0, 0, 0, 9, 1]], "13"), ([[2, 0, 0, 0, 0]], "13"),
      ([[0, 0xff, 0, 0, 0]], "8"),
    ] as [([[UInt8]], String)])
  func requestThatIsNotOneMessageIsRefused(pieces: [[UInt8]], code: String) {
    var state = state()
    state.open("Wait", on: 1, at: start)
    for piece in pieces { piece.withUnsafeBytes { state.received($0, on: 1) } }
    state.ended(1, at: start)
    #expect(state.actions() == ["headers 1 200 code \(code), last"])
  }

  @Test func unknownMethodAndEncodingAreRefused() {
    var state = state()
    state.open("Unknown", on: 1, at: start)
    state.open("Wait", on: 3, [("grpc-encoding", "snappy")], at: start)
    #expect(state.actions() == ["headers 1 200 code 12, last", "headers 3 200 code 12, last"])
  }

  // MARK: Streaming calls

  @Test func streamingCallBeginsAtOnceAndGetsItsMessages() {
    var state = state()
    state.open("Stream", on: 1, at: start)
    state.receive([1], on: 1)
    state.receive([2], on: 1)
    state.ended(1, at: start)
    #expect(state.actions() == ["open 1 Stream", "deliver 1 [1]", "deliver 1 [2]", "finish 1"])
    let areTaken = [9, 8].map { state.send([$0], compress: nil, on: 1) }
    state.answered(1, Response())
    #expect(
      state.actions() == [
        "headers 1 200", "message 1 [0, 0, 0, 0, 1, 9]", "message 1 [0, 0, 0, 0, 1, 8]", "trailers 1 code 0",
      ])
    let isLateTaken = state.send([7], compress: nil, on: 1)
    #expect(areTaken == [true, true] && !isLateTaken)
  }

  @Test func largeMessageIsSentBehindItsPrefixWithoutACopy() {
    var state = state()
    state.open("Stream", on: 1, at: start)
    _ = state.send([UInt8](repeating: 9, count: 70_000), compress: nil, on: 1)
    #expect(
      state.actions() == [
        "open 1 Stream", "headers 1 200", "prefix 1 [0, 0, 1, 17, 112]", "message 1 of 70000 bytes",
      ])
  }

  @Test func brokenStreamIsAnsweredAndItsCallGivenUp() {
    var state = state()
    state.open("Stream", on: 1, at: start)
    [9, 9, 9, 9, 9].withUnsafeBytes { state.received($0, on: 1) }
    #expect(state.actions() == ["open 1 Stream", "cancel 1", "headers 1 200 code 13, last"])
  }

  @Test func streamThatFailsAfterItsFirstMessageEndsWithTrailers() {
    var state = state()
    state.open("Stream", on: 1, at: start)
    _ = state.send([1], compress: nil, on: 1)
    state.answered(1, Response(.cancelled))
    #expect(
      state.actions() == ["open 1 Stream", "headers 1 200", "message 1 [0, 0, 0, 0, 1, 1]", "trailers 1 code 1"])
  }

  // MARK: Windows and memory

  @Test func windowOfAStreamIsGivenBackWhenItsMessagesWereTaken() {
    var state = state(limits: HTTP2Limits(streamWindowBytes: 1000))
    state.open("Stream", on: 1, at: start)
    _ = state.actions()
    let message = [UInt8](repeating: 0, count: 395)
    state.receive(message, on: 1)
    #expect(state.actions().map { $0.prefix(9) } == ["deliver 1"])
    state.receive(message, on: 1)
    #expect(state.actions().map { $0.prefix(9) } == ["deliver 1"])
    state.took(on: 1, messages: 1, bytes: 395)
    #expect(state.actions() == [])
    state.took(on: 1, messages: 2, bytes: 790)
    #expect(state.actions() == ["return 800 of 1"])
    state.took(on: 1, messages: 2, bytes: 790)
    #expect(state.actions() == [])
  }

  @Test func windowOfTheConnectionWaitsForTheCallsUnderWay() {
    var state = state(limits: HTTP2Limits(connectionWindowBytes: 1000))
    state.open("Wait", on: 1, at: start)
    state.receive([UInt8](repeating: 0, count: 595), on: 1)
    state.returnConnectionWindow(areCallsFull: true)
    #expect(state.actions() == [])
    state.returnConnectionWindow(areCallsFull: false)
    #expect(state.actions() == ["return 600"])
    // Of a stream that is gone, too.
    state.receive([UInt8](repeating: 0, count: 595), on: 7)
    state.returnConnectionWindow(areCallsFull: false)
    #expect(state.actions() == ["return 600"])
  }

  @Test func unfinishedRequestsAreToldByPieces() {
    var state = state()
    let piece = UnfinishedRequests.pieceBytes
    state.open("Wait", on: 1, at: start)
    state.receive([UInt8](repeating: 0, count: piece - 1), on: 1)
    #expect(state.actions() == [])
    state.open("Wait", on: 3, at: start)
    state.receive([1, 2], on: 3)
    #expect(state.actions() == ["hold \(piece + 1) for 3"])
    state.ended(1, at: start)
    #expect(state.actions().last == "hold 2 for 1")
  }

  @Test func requestThatFindsNoRoomIsRefusedAlone() {
    var state = state()
    let piece = UnfinishedRequests.pieceBytes
    state.open("Wait", on: 1, at: start)
    state.receive([UInt8](repeating: 0, count: piece), on: 1)
    state.open("Wait", on: 3, at: start)
    state.receive([UInt8](repeating: 0, count: piece), on: 3)
    #expect(state.actions() == ["hold \(piece) for 1", "hold \(2 * piece) for 3"])
    state.hasNoRoom(for: 3)
    // The server has one piece of it, as before.
    #expect(state.actions() == ["headers 3 200 code 8, last"])
    state.closed(1)
    #expect(state.actions() == ["hold 0 for 1"])
  }

  @Test func unfinishedRequestsOfOneConnectionAreBounded() {
    var state = state()
    let message = [UInt8](repeating: 0, count: Limits.frameBytesMax)
    let most = 2 * Limits.callBytesInFlightPerConnectionMax / Limits.frameBytesMax
    for number in 0...most {
      state.open("Wait", on: StreamID(2 * number + 1), at: start)
      state.receive(message, on: StreamID(2 * number + 1))
    }
    let last = 2 * most + 1
    #expect(
      state.actions().filter { !$0.hasPrefix("hold") && !$0.hasPrefix("return") } == [
        "headers \(last) 200 code 8, last"
      ])
  }

  // MARK: Its end

  @Test func endIsAnnouncedThenStreamsAreRefusedThenTheLastIsTold() {
    var state = state()
    state.call("Wait", on: 1, at: start)
    _ = state.actions()
    state.drain(at: start)
    guard case .announceEnd(let ping) = state.next() else {
      Issue.record("the end is not announced")
      return
    }
    // The peer may not have known.
    state.call("Wait", on: 3, at: start)
    #expect(state.actions() == ["run 3 Wait []"])
    state.acknowledged(ping)
    state.call("Wait", on: 5, at: start)
    #expect(state.actions() == ["reset 5 refusedStream"])
    for stream in [1, 3] as [StreamID] {
      state.answered(stream, Response())
      state.closed(stream)
    }
    #expect(state.actions().last == "end 3")
    state.look(.init(reads: 1), at: start)
    #expect(state.actions() == [])
  }

  @Test func peerThatDoesNotAnswerIsNotWaitedFor() {
    var state = state()
    state.drain(at: start)
    #expect(state.actions().map { $0.prefix(8) } == ["announce"])
    state.look(.init(), at: start + .seconds(Limits.goAwaySecondsMax) - .milliseconds(1))
    #expect(state.actions() == [])
    state.look(.init(), at: start + .seconds(Limits.goAwaySecondsMax))
    #expect(state.actions() == ["end 0"])
  }

  @Test func responseThatIsNotReadEndsTheConnectionInTime() {
    var state = state()
    state.call("Wait", on: 1, at: start)
    state.answered(1, Response([1]))
    _ = state.actions()
    var reads = 0
    func look(_ seconds: Int, taken: Int) -> [String] {
      reads += 1
      state.look(
        .init(reads: reads, responseBytesTaken: taken, responsesWaiting: 1), at: start + .seconds(seconds))
      return state.actions()
    }
    #expect(look(0, taken: 0) == [])
    #expect(look(50, taken: 0) == [])
    // One byte was read.
    #expect(look(59, taken: 1) == [])
    #expect(look(118, taken: 1) == [])
    #expect(look(119, taken: 1) == ["close: 1 answers are not read"])
  }

  @Test func lostConnectionKeepsNothing() {
    var state = state()
    state.call("Wait", on: 1, at: start)
    state.lost()
    #expect(state.actions() == [] && state.streamCount == 0)
    state.answered(1, Response([1]))
    state.drain(at: start)
    #expect(state.actions().allSatisfy { !$0.hasPrefix("end") })
  }

  private func state(limits: HTTP2Limits = HTTP2Limits()) -> GRPCConnectionState {
    GRPCConnectionState(
      Dispatcher(StubMethods().methods, interceptors: []), GRPCConnectionConfiguration(), limits: limits,
      unreadResponseTimeout: .seconds(60), at: start)
  }
}

extension GRPCConnectionState {
  fileprivate mutating func open(
    _ method: String, on id: StreamID, _ more: [(String, String)] = [], at now: ContinuousClock.Instant
  ) {
    var headers = [(":method", "POST"), (":path", "/stub/\(method)"), ("content-type", "application/grpc")]
    headers += more
    for (name, value) in headers {
      Array(name.utf8).withUnsafeBytes { name in Array(value.utf8).withUnsafeBytes { header(name, $0) } }
    }
    opened(id, isLast: false, at: now)
  }

  fileprivate mutating func receive(_ message: [UInt8], on id: StreamID) {
    GRPCMessageDecoder.encode(message, compression: nil).withUnsafeBytes { received($0, on: id) }
  }

  fileprivate mutating func call(_ method: String, on id: StreamID, at now: ContinuousClock.Instant) {
    open(method, on: id, at: now)
    receive([], on: id)
    ended(id, at: now)
  }

  /// What is to be done, in words.
  fileprivate mutating func actions() -> [String] {
    var words: [String] = []
    while let action = next() { words.append(action.words) }
    return words
  }
}

extension GRPCConnectionState.Action {
  fileprivate var words: String {
    switch self {
    case .run(let id, let method, _, let message, _): "run \(id) \(method.name.name) \(message.bytes)"
    case .open(let id, let method, _): "open \(id) \(method.name.name)"
    case .deliver(let id, let message): "deliver \(id) \(message.bytes)"
    case .finish(let id, .success): "finish \(id)"
    case .finish(let id, .failure(let error)): "finish \(id) \(error.code)"
    case .cancel(let id): "cancel \(id)"
    case .send(let id, .headers(let headers, let isLast)):
      "headers \(id) \(headers[":status"] ?? "")\(headers["grpc-status"].map { " code \($0)" } ?? "")"
        + (isLast ? ", last" : "")
    case .send(let id, .prefix(let bytes)): "prefix \(id) \(bytes)"
    case .send(let id, .message(let bytes)):
      "message \(id) \(bytes.count > 1000 ? "of \(bytes.count) bytes" : "\(bytes)")"
    case .send(let id, .trailers(let headers)): "trailers \(id) code \(headers["grpc-status"] ?? "")"
    case .reset(let id, let code): "reset \(id) \(code)"
    case .returnWindow(let id, let bytes): "return \(bytes) of \(id)"
    case .returnConnectionWindow(let bytes): "return \(bytes)"
    case .hold(let bytes, let id): "hold \(bytes) for \(id)"
    case .ping: "ping"
    case .announceEnd: "announce"
    case .end(let last): "end \(last)"
    case .close(let reason): "close: \(reason)"
    }
  }
}
