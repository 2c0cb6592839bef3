import Core
import Messages
import TestSupport
import Testing

@Suite struct ServerSessionTests {
  /// What a session says to do, in words that can be compared.
  enum Step: Equatable {
    case start(UInt32)
    case receive([UInt8]?, UInt32, isLast: Bool)
    case answer(RPCError.Code, RPCError.Reason, UInt32)
    case close
  }

  // MARK: Calls

  @Test func aRequestStartsItsCall() {
    var session = ServerSession()
    session.receive(
      frame(
        stream: 5,
        envelope(
          service: "s", method: "m", payload: [1, 2], timeoutNanoseconds: 3, metadata: [("Authorization", "Bearer x")]))
    )
    guard case .start(let call, stream: 5, .unary) = session.next() else {
      Issue.record("no call was started")
      return
    }
    #expect(call.service == "s")
    #expect(call.method == "m")
    #expect(call.payload == [1, 2])
    #expect(call.timeout == .nanoseconds(3))
    #expect(call.metadata["authorization"] == ["Bearer x"])
    #expect(session.next() == nil)
    #expect(session.callsInFlight == 1)
  }

  @Test func callsStartInTheOrderOfTheirFramesHoweverTheyArrive() {
    let streams = (0..<50).map { UInt32(2 * $0 + 1) }
    let bytes = streams.flatMap { request(stream: $0, payload: [1, 2, 3]) }
    var chance = SeededGenerator()
    var session = ServerSession()
    var steps: [Step] = []
    for piece in bytes.cut(using: &chance) { steps += session.steps(after: piece) }
    #expect(steps == streams.map { .start($0) }, "seed \(chance.seed)")
  }

  @Test func callsFinishInAnyOrder() {
    var session = ServerSession()
    _ = session.steps(after: [1, 3, 5].flatMap { request(stream: $0) })
    #expect(session.callsInFlight == 3)
    session.finished(stream: 3)
    session.finished(stream: 5)
    session.finished(stream: 1)
    #expect(session.callsInFlight == 0)
  }

  @Test func finishingWhatIsNotUnderWayChangesNothing() {
    var session = ServerSession()
    _ = session.steps(after: request(stream: 1))
    session.finished(stream: 3)
    #expect(session.callsInFlight == 1)
    session.finished(stream: 1)
    session.finished(stream: 1)
    #expect(session.callsInFlight == 0)
    #expect(session.isFull == false)
  }

  @Test func everyFrameIsCounted() {
    var session = ServerSession()
    _ = session.steps(after: request(stream: 1) + frame(kind: 9) + request(stream: 2) + request(stream: 3).dropLast())
    #expect(session.framesRead == 3)
    #expect(session.isMidFrame)
  }

  // MARK: Stream ids

  @Test(arguments: [0, 2, 4, 0x8000_0000, 0xffff_fffe] as [UInt32])
  func evenStreamIDsAreRefusedAndTheNextCallGoesOn(stream: UInt32) {
    var session = ServerSession()
    #expect(
      session.steps(after: request(stream: stream) + request(stream: 1)) == [
        .answer(.invalidArgument, .streamIDInvalid, stream), .start(1),
      ])
  }

  @Test func aStreamIDIsUsedOnce() {
    var session = ServerSession()
    #expect(session.steps(after: request(stream: 7)) == [.start(7)])
    #expect(session.steps(after: request(stream: 7)) == [.answer(.invalidArgument, .streamIDInvalid, 7)])
    session.finished(stream: 7)
    #expect(session.steps(after: request(stream: 7)) == [.answer(.invalidArgument, .streamIDInvalid, 7)])
  }

  @Test func streamIDsMustGrow() {
    var session = ServerSession()
    #expect(
      session.steps(after: [101, 99, 1, 103].flatMap { request(stream: $0) }) == [
        .start(101), .answer(.invalidArgument, .streamIDInvalid, 99), .answer(.invalidArgument, .streamIDInvalid, 1),
        .start(103),
      ])
  }

  @Test func theLastStreamIDIsTheLast() {
    var session = ServerSession()
    #expect(session.steps(after: request(stream: .max)) == [.start(.max)])
    #expect(session.steps(after: request(stream: 1)) == [.answer(.invalidArgument, .streamIDInvalid, 1)])
  }

  @Test func theErrorTellsTheIDAndTheRule() {
    var session = ServerSession()
    _ = session.steps(after: request(stream: 5))
    #expect(session.messages(after: request(stream: 4)) == ["stream ids of clients are odd; this one is 4"])
    #expect(
      session.messages(after: request(stream: 3)) == [
        "stream ids must grow and are used once; this one is 3 after 5"
      ])
  }

  // MARK: Types and flags

  @Test(arguments: [0, 2, 4, 16, 255] as [UInt8]) func framesThatAreNoRequestsAreIgnored(kind: UInt8) {
    var session = ServerSession()
    #expect(session.steps(after: frame(stream: 9, kind: kind, envelope()) + request(stream: 1)) == [.start(1)])
  }

  @Test(arguments: [3, 4, 6, 0x80, 0xff] as [UInt8]) func requestsWithUnknownFlagsAreRefusedAndTheirIDsAreUsed(
    flags: UInt8
  ) {
    var session = ServerSession()
    #expect(
      session.steps(after: frame(stream: 1, flags: flags, envelope()) + request(stream: 1) + request(stream: 3)) == [
        .answer(.unimplemented, .streamingUnsupported, 1), .answer(.invalidArgument, .streamIDInvalid, 1), .start(3),
      ])
  }

  // MARK: Streams

  @Test func openStreamReceivesUntilItsClientCloses() {
    var session = ServerSession()
    #expect(session.steps(after: frame(stream: 1, flags: 2, envelope())) == [.start(1)])
    #expect(
      session.steps(
        after: frame(stream: 1, kind: 3, [7]) + request(stream: 3) + frame(stream: 1, kind: 3, [])
          + frame(stream: 1, kind: 3, flags: 5, [])) == [
          .receive([7], 1, isLast: false), .start(3), .receive([], 1, isLast: false), .receive(nil, 1, isLast: true),
        ])
    #expect(
      session.steps(after: frame(stream: 1, kind: 3, [8])) == [.answer(.invalidArgument, .streamIDInvalid, 1)])
    #expect(session.callsInFlight == 2)
  }

  @Test func lastDataFrameMayHaveAMessage() {
    var session = ServerSession()
    _ = session.steps(after: frame(stream: 1, flags: 2, envelope()))
    #expect(
      session.steps(after: frame(stream: 1, kind: 3, flags: 1, [7])) == [.receive([7], 1, isLast: true)])
  }

  @Test func dataWithoutAnOpenStreamIsRefused() {
    var session = ServerSession()
    let refusal = Step.answer(.invalidArgument, .streamIDInvalid, 1)
    #expect(session.steps(after: frame(stream: 1, kind: 3, [1])) == [refusal])
    #expect(
      session.steps(after: request(stream: 1) + frame(stream: 1, kind: 3, [1])) == [.start(1), refusal])
    #expect(
      session.steps(after: frame(stream: 3, flags: 1, envelope()) + frame(stream: 3, kind: 3, [1])) == [
        .start(3), .answer(.invalidArgument, .streamIDInvalid, 3),
      ])
  }

  /// Its client may not know that yet.
  @Test func dataForAStreamThatHasEndedIsIgnored() {
    var session = ServerSession()
    _ = session.steps(after: frame(stream: 1, flags: 2, envelope()))
    session.finished(stream: 1)
    #expect(session.steps(after: frame(stream: 1, kind: 3, [1]) + request(stream: 3)) == [.start(3)])
  }

  @Test func emptyMessagesThatNobodyTakesStopReadingToo() {
    var session = ServerSession()
    _ = session.steps(after: frame(stream: 1, flags: 2, envelope()))
    let some = (0..<1000).flatMap { _ in frame(stream: 1, kind: 3, []) }
    var received = 0
    while !session.isFull, received < 1_000_000 {
      session.receive(some)
      while session.next() != nil { received += 1 }
    }
    #expect(session.isFull && received < 1_000_000)
  }

  @Test func oversizedMessageOfAStreamIsRefused() {
    var session = ServerSession()
    _ = session.steps(after: frame(stream: 1, flags: 2, envelope()))
    #expect(
      session.steps(after: frame(stream: 1, kind: 3, [UInt8](repeating: 0, count: 4_194_305))) == [
        .answer(.resourceExhausted, .messageTooLarge, 1)
      ])
  }

  @Test func streamWhoseMessagesNobodyTakesStopsReading() {
    var session = ServerSession()
    _ = session.steps(after: frame(stream: 1, flags: 2, envelope()))
    let message = [UInt8](repeating: 1, count: 1 << 20)
    let count = Limits.callBytesInFlightPerConnectionMax >> 20
    for _ in 0...count { session.receive(frame(stream: 1, kind: 3, message)) }
    var received = 0
    while session.next() != nil { received += 1 }
    #expect(session.isFull && received == count)
    session.taken(ServerSession.weight(of: message), stream: 1)
    #expect(session.next() != nil && session.next() == nil)
    session.finished(stream: 1)
    #expect(!session.isFull && session.callsInFlight == 0)
  }

  // MARK: Broken envelopes

  @Test(
    arguments: [
      [0xff], [0x0a], [0x0a, 0x05, 0x61], [0x0b, 0x0c], [0x0f],
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] as [[UInt8]])
  func aBadEnvelopeFailsItsStreamAlone(data: [UInt8]) {
    var session = ServerSession()
    #expect(
      session.steps(after: request(stream: 1) + frame(stream: 3, data) + request(stream: 5)) == [
        .start(1), .answer(.invalidArgument, .requestMalformed, 3), .start(5),
      ])
    #expect(session.callsInFlight == 2)
  }

  @Test func anEnvelopeCutAnywhereFailsAtMostItsStream() {
    let whole = envelope(payload: [1, 2, 3], timeoutNanoseconds: 1_000_000, metadata: [("k", "v")])
    var session = ServerSession()
    var (stream, refused): (UInt32, Int) = (1, 0)
    for length in 0..<whole.count {
      let steps = session.steps(after: frame(stream: stream, Array(whole[..<length])))
      if steps == [.answer(.invalidArgument, .requestMalformed, stream)] {
        refused += 1
      } else {
        #expect(steps == [.start(stream)], "cut after \(length) bytes")
      }
      stream += 2
    }
    // It can be read where it ends between two fields: after none of them, or the first, …
    #expect(refused == whole.count - 5)
    #expect(session.steps(after: request(stream: stream)) == [.start(stream)])
  }

  // MARK: Sizes

  @Test func anOversizedRequestIsRefusedOnItsStreamAndTheNextFollows() {
    var session = ServerSession()
    let oversized = frame(stream: 3, [UInt8](repeating: 0, count: 4_194_305))
    #expect(
      session.steps(after: request(stream: 1) + oversized + request(stream: 5)) == [
        .start(1), .answer(.resourceExhausted, .messageTooLarge, 3), .start(5),
      ])
    #expect(
      session.messages(after: frame(stream: 7, [UInt8](repeating: 0, count: 4_194_305))) == [
        "a message of 4194305 bytes; at most 4194304 are allowed: send less at once"
      ])
  }

  @Test(arguments: [2, 3, 77] as [UInt8]) func anOversizedFrameThatIsNoRequestIsIgnored(kind: UInt8) {
    var session = ServerSession()
    let oversized = frame(stream: 1, kind: kind, [UInt8](repeating: 0, count: 4_194_305))
    #expect(session.steps(after: oversized + request(stream: 1)) == [.start(1)])
  }

  @Test func aFramePastTheDiscardBoundIsAnsweredAndCostsTheConnection() {
    var session = ServerSession()
    #expect(
      session.steps(after: request(stream: 1) + frame(stream: 3, length: 16_777_216) + request(stream: 5)) == [
        .start(1), .answer(.resourceExhausted, .messageTooLarge, 3), .close,
      ])
    #expect(session.steps(after: request(stream: 7)) == [])
  }

  // MARK: As much as may be under way

  @Test func pastTheMostCallsUnderWayTheRestWaits() {
    var session = ServerSession()
    let streams = (0..<1030).map { UInt32(2 * $0 + 1) }
    let started = session.steps(after: streams.flatMap { request(stream: $0) })
    #expect(started == streams.prefix(1024).map { .start($0) })
    #expect(session.isFull == true)

    session.finished(stream: 501)
    #expect(session.isFull == false)
    #expect(session.steps() == [.start(2049)])
    #expect(session.isFull == true)

    for stream in [1, 3, 5, 7, 9] as [UInt32] { session.finished(stream: stream) }
    #expect(session.steps() == [2051, 2053, 2055, 2057, 2059].map { .start($0) })
    #expect(session.callsInFlight == 1024)
  }

  @Test func refusedCallsAreNotUnderWay() {
    var session = ServerSession()
    let bad = (0..<2000).flatMap { frame(stream: 2 * $0 + 1, [0xff]) }
    #expect(session.steps(after: bad).count == 2000)
    #expect(session.callsInFlight == 0)
  }

  @Test func pastTheMostBytesUnderWayTheRestWaits() {
    var session = ServerSession()
    // Four of them stay just below the limit, the fifth passes it.
    let payload = [UInt8](repeating: 0, count: 4_194_304 - 100)
    var steps: [Step] = []
    for stream in [1, 3, 5, 7, 9, 11] as [UInt32] {
      steps += session.steps(after: request(stream: stream, payload: payload))
    }
    #expect(steps == [.start(1), .start(3), .start(5), .start(7), .start(9)])
    #expect(session.isFull == true)
    session.finished(stream: 1)
    session.finished(stream: 3)
    #expect(session.steps() == [.start(11)])
  }

  @Test func namesOfMethodsWeighToo() {
    // Whatever part of the request is large.
    var session = ServerSession()
    let name = String(repeating: "m", count: 4_000_000)
    for stream in [1, 3, 5, 7, 9, 11] as [UInt32] {
      _ = session.steps(after: frame(stream: stream, envelope(service: "s", method: name)))
    }
    #expect(session.isFull == true)
  }

  // MARK: Draining

  @Test func aDrainingSessionRefusesNewCallsAndKeepsThoseUnderWay() {
    var session = ServerSession()
    _ = session.steps(after: request(stream: 1))
    session.isDraining = true
    #expect(session.steps(after: request(stream: 3)) == [.answer(.unavailable, .draining, 3)])
    #expect(session.callsInFlight == 1)
    session.finished(stream: 1)
    #expect(session.callsInFlight == 0)
  }

  // MARK: Fuzz

  /// Whatever comes, every request frame is answered or started, and a good one is still understood.
  @Test func randomFramesNeverStopASession() {
    var chance = SeededGenerator()
    var session = ServerSession()
    var stream: UInt32 = 1
    for _ in 0..<5000 {
      let data = chance.mutated(envelope(payload: chance.bytes(20), timeoutNanoseconds: 7, metadata: [("k", "v")]))
      let steps = session.steps(after: frame(stream: stream, data))
      switch steps.first {
      case .start(stream): session.finished(stream: stream)
      case .answer(.invalidArgument, _, stream): break
      default: Issue.record("\(steps) to \(data), seed \(chance.seed)")
      }
      #expect(steps.count == 1, "seed \(chance.seed)")
      stream += 2
    }
    #expect(session.steps(after: request(stream: stream)) == [.start(stream)], "seed \(chance.seed)")
  }

  @Test func randomBytesEndInNothingWorseThanAClosedConnection() {
    var chance = SeededGenerator()
    for _ in 0..<500 {
      var session = ServerSession()
      let steps = session.steps(after: chance.bytes(.random(in: 0...200, using: &chance)))
      #expect(steps.firstIndex(of: .close).map { $0 == steps.count - 1 } ?? true, "seed \(chance.seed)")
    }
  }
}

extension ServerSession {
  fileprivate mutating func receive(_ bytes: some Sequence<UInt8>) {
    Array(bytes).withUnsafeBytes { receive($0) }
  }

  fileprivate mutating func steps(after bytes: some Sequence<UInt8> = []) -> [ServerSessionTests.Step] {
    receive(bytes)
    var steps: [ServerSessionTests.Step] = []
    while let action = next() {
      switch action {
      case .start(_, let stream, _): steps.append(.start(stream))
      case .receive(let message, let stream, let isLast): steps.append(.receive(message, stream, isLast: isLast))
      case .answer(let error, let stream): steps.append(.answer(error.code, error.reason, stream))
      case .close: steps.append(.close)
      }
    }
    return steps
  }

  /// The messages of the errors it answers with.
  fileprivate mutating func messages(after bytes: [UInt8]) -> [String] {
    receive(bytes)
    var messages: [String] = []
    while let action = next() {
      if case .answer(let error, _) = action { messages.append(error.message) }
    }
    return messages
  }
}
