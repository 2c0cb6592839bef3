import Core
import Messages
import TestSupport
import Testing

@Suite struct EnvelopeTests {
  // MARK: Requests

  /// proto/ttrpc/ttrpc.proto, byte for byte.
  @Test func aRequestHasTheBytesOfTheSchema() throws {
    let data: [UInt8] = [
      0x0a, 0x01, 0x53,  // 1: service "S"
      0x12, 0x02, 0x4d, 0x6d,  // 2: method "Mm"
      0x1a, 0x03, 0x01, 0x02, 0x03,  // 3: payload
      0x20, 0xac, 0x02,  // 4: timeout_nano 300
      0x2a, 0x06, 0x0a, 0x01, 0x6b, 0x12, 0x01, 0x76,  // 5: metadata k: v
      0x2a, 0x04, 0x0a, 0x02, 0x6b, 0x6b,  // 5: metadata kk
    ]
    var metadata = Metadata()
    metadata.add("k", "v")
    metadata.add("kk", "")
    let call = Call(service: "S", method: "Mm", metadata: metadata, timeout: .nanoseconds(300), payload: [1, 2, 3])
    #expect(Envelope.frame(call, stream: 0x0102_0304) == [0, 0, 0, 29, 1, 2, 3, 4, 1, 0] + data)
    try expectSame(Envelope.call(data), call)
  }

  @Test func anEmptyRequestIsReadAsOne() throws {
    try expectSame(
      Envelope.call([]), Call(service: "", method: "", metadata: Metadata(), timeout: nil, payload: []))
  }

  @Test func anyCallComesBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<300 {
      var metadata = Metadata()
      for _ in 0..<Int.random(in: 0...5, using: &chance) { metadata.add(chance.text(10), chance.text(30)) }
      let call = Call(
        service: chance.text(40), method: chance.text(20), metadata: metadata,
        timeout: Bool.random(using: &chance) ? nil : .nanoseconds(Int64.random(in: 1 ... .max, using: &chance)),
        payload: chance.bytes(.random(in: 0...300, using: &chance)))
      let bytes = Envelope.frame(call, stream: 1)
      try expectSame(Envelope.call(Array(bytes.dropFirst(10))), call, "seed \(chance.seed)")
    }
  }

  // MARK: Timeouts

  @Test(
    arguments: [
      (nil, nil),
      (1, .nanoseconds(1)),
      (1_500_000_000, .milliseconds(1500)),
      (.max, .nanoseconds(Int64.max)),
      (0, nil),
      (-1, .nanoseconds(-1)),
      (.min, .nanoseconds(Int64.min)),
    ] as [(Int64?, Duration?)])
  func aTimeoutIsReadInNanosecondsAndZeroIsNone(nanoseconds: Int64?, timeout: Duration?) throws {
    #expect(try Envelope.call(envelope(timeoutNanoseconds: nanoseconds)).timeout == timeout)
  }

  @Test(
    arguments: [
      (nil, nil),
      (.nanoseconds(1), .nanoseconds(1)),
      (.milliseconds(1500), .milliseconds(1500)),
      (.milliseconds(-1500), .milliseconds(-1500)),
      (.seconds(9_223_372_035), .seconds(9_223_372_035)),
      // Zero would say that there is no deadline.
      (.zero, .nanoseconds(-1)),
      (Duration(secondsComponent: 0, attosecondsComponent: 999_999_999), .nanoseconds(-1)),
      (.seconds(9_223_372_036) + .nanoseconds(854_775_807), .nanoseconds(Int64.max)),
      // What 64 bits cannot count is as far away as they can.
      (.seconds(9_223_372_036) + .nanoseconds(854_775_808), .nanoseconds(Int64.max)),
      (.seconds(9_223_372_036) + .nanoseconds(999_999_999), .nanoseconds(Int64.max)),
      (.seconds(9_223_372_037), .nanoseconds(Int64.max)),
      (.seconds(Int64.max), .nanoseconds(Int64.max)),
    ] as [(Duration?, Duration?)])
  func aTimeoutIsWritten(timeout: Duration?, read: Duration?) throws {
    #expect(try roundTripped(timeout) == read)
  }

  /// That far back, how far makes no difference.
  @Test(arguments: [-9_223_372_037, -9_223_372_038, .min] as [Int64]) func aTimeoutLongPastIsPast(seconds: Int64) throws
  {
    let timeout = try #require(try roundTripped(.seconds(seconds) - .milliseconds(1)))
    #expect(timeout < .zero)
  }

  // MARK: Metadata limits

  @Test func metadataHasAtMost64Entries() throws {
    let entries = [(String, String)](repeating: ("k", "v"), count: 64)
    #expect(try Envelope.call(envelope(metadata: entries)).metadata.entries.count == 64)
    expectRefusal(
      of: envelope(metadata: entries + [("k", "v")]), .metadataInvalid,
      "metadata has 65 entries; at most 64 are allowed")
  }

  @Test func metadataHasAtMost16KiB() throws {
    let value = String(repeating: "v", count: 16_384 - 4)
    #expect(try Envelope.call(envelope(metadata: [("key", value), ("k", "")])).metadata.bytes == 16_384)
    expectRefusal(
      of: envelope(metadata: [("key", value), ("k", "v")]), .metadataInvalid,
      "metadata is 16385 bytes long; at most 16384 are allowed")
  }

  @Test func aMillionEntriesAreRefusedUnread() {
    expectRefusal(of: repeated(0x2a, 0, times: 1_000_000), .requestMalformed)
  }

  // MARK: Text

  @Test(
    arguments: [
      (field(1, bytes: [0xff]), "service: is not valid UTF-8"),
      (field(2, bytes: [0xff]), "method: is not valid UTF-8"),
      (field(5, bytes: field(1, bytes: [0xff])), "metadata.key: is not valid UTF-8"),
      (field(5, bytes: field(2, bytes: [0xff])), "metadata.value: is not valid UTF-8"),
      (field(1, text: "s\0"), "service: holds a NUL character; remove it"),
      (field(2, text: "\0"), "method: holds a NUL character; remove it"),
      (field(5, bytes: field(1, text: "a\0b")), "metadata.key: holds a NUL character; remove it"),
      (field(5, bytes: field(2, text: "a\0b")), "metadata.value: holds a NUL character; remove it"),
    ])
  func textThatIsNoneIsRefusedByTheNameOfItsField(data: [UInt8], message: String) {
    expectRefusal(of: envelope() + data, .fieldInvalid, message)
  }

  @Test func thePayloadIsAnyBytes() throws {
    let payload = [UInt8](0...255)
    #expect(try Envelope.call(envelope(payload: payload)).payload == payload)
  }

  // MARK: Replies

  @Test func anAnswerHasTheBytesOfTheSchema() throws {
    #expect(
      Envelope.frame(.success([7, 8]), stream: 5) == [
        0, 0, 0, 4,  // length
        0, 0, 0, 5,  // stream
        2, 0,  // response
        0x12, 0x02, 0x07, 0x08,  // 2: payload
      ])
    #expect(try Envelope.reply([0x12, 0x02, 0x07, 0x08]) == .success([7, 8]))
  }

  @Test func anEmptyAnswerIsAnEmptyFrame() throws {
    #expect(Envelope.frame(.success([]), stream: 1) == [0, 0, 0, 0, 0, 0, 0, 1, 2, 0])
    #expect(try Envelope.reply([]) == .success([]))
  }

  /// containerd's client unmarshals the payload before it looks at the status.
  @Test func besideAnErrorThereIsNoPayload() {
    let error = RPCError.draining
    let data = field(1, bytes: error.encodedStatus())
    #expect(Envelope.frame(.failure(error), stream: 3) == frame(stream: 3, kind: 2, data))
  }

  @Test func aStatusOfOKIsNoError() throws {
    #expect(try Envelope.reply(field(1, bytes: []) + field(2, bytes: [9])) == .success([9]))
    #expect(try Envelope.reply(field(1, bytes: field(1, varint: 0) + field(2, text: "fine"))) == .success([]))
  }

  // MARK: Help

  private func expectSame(
    _ a: Call, _ b: Call, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(a.service == b.service, comment, sourceLocation: sourceLocation)
    #expect(a.method == b.method, comment, sourceLocation: sourceLocation)
    #expect(a.metadata == b.metadata, comment, sourceLocation: sourceLocation)
    #expect(a.timeout == b.timeout, comment, sourceLocation: sourceLocation)
    #expect(a.payload == b.payload, comment, sourceLocation: sourceLocation)
  }

  private func expectRefusal(
    of data: [UInt8], _ reason: RPCError.Reason, _ message: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: RPCError.self, sourceLocation: sourceLocation) { _ = try Envelope.call(data) }
    #expect(error?.code == .invalidArgument, sourceLocation: sourceLocation)
    #expect(error?.reason == reason, sourceLocation: sourceLocation)
    if let message { #expect(error?.message == message, sourceLocation: sourceLocation) }
  }
}

private func roundTripped(_ timeout: Duration?) throws -> Duration? {
  let call = Call(service: "s", method: "m", metadata: Metadata(), timeout: timeout, payload: [])
  return try Envelope.call(Array(Envelope.frame(call, stream: 1).dropFirst(10))).timeout
}
