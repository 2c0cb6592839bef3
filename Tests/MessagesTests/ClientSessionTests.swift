import Core
import Messages
import TestSupport
import Testing

@Suite struct ClientSessionTests {
  static let call = Call(service: "s", method: "m", metadata: Metadata(), timeout: nil, payload: [1])

  @Test func streamsOfAClientAreOddAndGrow() throws {
    var session = ClientSession()
    for stream in [1, 3, 5] as [UInt32] {
      let opened = try session.open(Self.call)
      #expect(opened.stream == stream)
      #expect(opened.frame == Envelope.frame(Self.call, stream: stream))
    }
    #expect(!session.isExhausted)
  }

  @Test func aServerUnderstandsAClient() throws {
    var (client, server) = (ClientSession(), ServerSession())
    let opened = try client.open(Self.call)
    opened.frame.withUnsafeBytes { server.receive($0) }
    guard case .start(let call, let stream, .unary) = server.next() else {
      Issue.record("the server started no call")
      return
    }
    #expect(stream == opened.stream)
    #expect(call.payload == [1])
    #expect(replies(&client, to: Envelope.frame(.success([2]), stream: stream)) == [.init(.success([2]), stream)])
  }

  @Test func repliesComeInAnyOrderHoweverTheyArrive() {
    let expected = (0..<50).map { StreamReply($0 % 3 == 0 ? .failure(.draining) : .success([$0]), 99 - UInt32($0) * 2) }
    let bytes = expected.flatMap { Envelope.frame($0.reply, stream: $0.stream) }
    var chance = SeededGenerator()
    var session = ClientSession()
    #expect(bytes.cut(using: &chance).flatMap { replies(&session, to: $0) } == expected, "seed \(chance.seed)")
  }

  @Test(arguments: [0, 1, 3, 9] as [UInt8]) func framesThatAreNoResponsesAreIgnored(kind: UInt8) {
    var session = ClientSession()
    let bytes = frame(stream: 1, kind: kind, [1]) + Envelope.frame(.success([2]), stream: 1)
    #expect(replies(&session, to: bytes) == [.init(.success([2]), 1)])
  }

  @Test func aBadResponseFailsItsCallAlone() {
    var session = ClientSession()
    let bytes = frame(stream: 1, kind: 2, [0xff]) + Envelope.frame(.success([2]), stream: 3)
    let replies = replies(&session, to: bytes)
    #expect(replies.map(\.stream) == [1, 3])
    #expect(throws: RPCError.self) { try replies.first?.reply.get() }
    #expect(replies.last?.reply == .success([2]))
  }

  @Test func aCallTooLargeIsRefusedAndUsesNoStream() throws {
    var session = ClientSession()
    var call = Self.call
    // service, method and payload cost 3, 3 and 5 bytes beside what they hold.
    call.payload = [UInt8](repeating: 0, count: 4_194_304 - 11)
    #expect(try session.open(call).frame.count == 4_194_304 + 10)
    call.payload.append(0)
    let error = #expect(throws: RPCError.self) { _ = try session.open(call) }
    #expect(error?.reason == .messageTooLarge)
    #expect(error?.code == .resourceExhausted)
    #expect(try session.open(Self.call).stream == 3)
  }

  @Test func anAnswerALittleLargerThanARequestMayBeIsRead() {
    let payload = [UInt8](repeating: 1, count: 4_194_304)
    var session = ClientSession()
    #expect(replies(&session, to: Envelope.frame(.success(payload), stream: 1)) == [.init(.success(payload), 1)])
  }

  @Test func aPeerThatDoesNotSpeakTheProtocolIsLeft() {
    var session = ClientSession()
    Array("HTTP/1.1 400 Bad Request\r\n".utf8).withUnsafeBytes { session.receive($0) }
    guard case .fatal(let error) = session.next() else {
      Issue.record("went on")
      return
    }
    #expect(error.reason == .requestMalformed)
    #expect(session.next() == nil)
  }

  struct StreamReply: Equatable {
    var reply: Reply
    var stream: UInt32

    init(_ reply: Reply, _ stream: UInt32) {
      self.reply = reply
      self.stream = stream
    }
  }

  private func replies(_ session: inout ClientSession, to bytes: some Sequence<UInt8>) -> [StreamReply] {
    Array(bytes).withUnsafeBytes { session.receive($0) }
    var replies: [StreamReply] = []
    while let event = session.next() {
      switch event {
      case .reply(let reply, let stream): replies.append(StreamReply(reply, stream))
      case .fatal(let error): Issue.record("\(error)")
      }
    }
    return replies
  }
}
