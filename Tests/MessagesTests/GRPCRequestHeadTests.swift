import Core
import Messages
import TestSupport
import Testing

@Suite struct GRPCRequestHeadTests {
  typealias Headers = [(name: String, value: String)]

  static let headers: Headers = [
    (":method", "POST"), (":scheme", "http"), (":path", "/parley.v1.InteractionService/GetStats"),
    (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers"),
  ]

  @Test func aRequestNamesItsMethodInItsPath() throws {
    let head = try GRPCRequestHead(Self.headers)
    #expect(head.service == "parley.v1.InteractionService")
    #expect(head.method == "GetStats")
    #expect(head.metadata == Metadata())
    #expect(head.timeout == nil)
    #expect(head.encoding == nil)
    #expect(head.accepts == nil)
  }

  @Test func whatIsTheCallersIsMetadata() throws {
    let head = try GRPCRequestHead(
      Self.headers + [
        ("authorization", "Bearer x"), ("user-agent", "grpc-go"), ("content-length", "5"), ("x-trace-bin", "AAE="),
        ("authorization", "Bearer y"),
      ])
    #expect(head.metadata.entries.map(\.key) == ["authorization", "x-trace-bin", "authorization"])
    #expect(head.metadata["authorization"] == ["Bearer x", "Bearer y"])
    #expect(head.metadata["x-trace-bin"] == ["AAE="])
  }

  // MARK: What is no gRPC

  @Test(arguments: ["GET", "PUT", "post", ""]) func onlyPOSTIsGRPC(method: String) {
    expectHTTP(405, replacing(":method", method))
  }

  @Test(arguments: [
    "application/json", "text/plain", "", "application/grpc-web", "application/grpc+json", "application/grpcx",
  ])
  func otherContentIsRefused(type: String) {
    expectHTTP(415, replacing("content-type", type))
  }

  @Test func contentWithoutATypeIsRefused() {
    expectHTTP(415, Self.headers.filter { $0.name != "content-type" })
  }

  @Test(arguments: [
    "application/grpc", "application/grpc+proto", "APPLICATION/GRPC", "application/grpc; charset=utf-8",
    "application/grpc;x",
  ])
  func contentOfGRPCIsTaken(type: String) throws {
    #expect(try GRPCRequestHead(replacing("content-type", type)).method == "GetStats")
  }

  @Test(arguments: ["", "/", "GetStats", "/GetStats", "s/m", "/s/m/x", "/s/m/", "http://h/s/m"])
  func aPathThatNamesNoMethodIsUnimplemented(path: String) {
    expectRefusal(.unimplemented, .methodUnknown, replacing(":path", path))
  }

  @Test func theNameOfAnUnknownMethodIsToldShort() {
    let accents = String(repeating: "\u{301}", count: 10_000)
    let error = RPCError.methodUnknown(service: "s" + accents, method: "m" + accents)
    #expect(error.message.utf8.count < 500)
    #expect(error.message.hasSuffix("the service is parley.v1.InteractionService"))
  }

  // MARK: Limits

  @Test func metadataHasAtMost64Entries() throws {
    let entries = Headers(repeating: ("k", "v"), count: 64)
    #expect(try GRPCRequestHead(Self.headers + entries).metadata.entries.count == 64)
    expectRefusal(.invalidArgument, .metadataInvalid, Self.headers + entries + [("k", "v")])
  }

  @Test func metadataHasAtMost16KiB() throws {
    let value = String(repeating: "v", count: 16_384 - 3)
    #expect(try GRPCRequestHead(Self.headers + [("key", value)]).metadata.bytes == 16_384)
    expectRefusal(.invalidArgument, .metadataInvalid, Self.headers + [("key", value), ("k", "")])
    // A path or a user agent is no metadata.
    let long = Self.headers + [("user-agent", value)]
    #expect(try GRPCRequestHead(long + [("key", value)]).metadata.bytes == 16_384)
  }

  // MARK: Timeouts

  @Test(
    arguments: [
      ("1H", .seconds(3600)), ("2M", .seconds(120)), ("3S", .seconds(3)), ("4m", .milliseconds(4)),
      ("5u", .microseconds(5)), ("6n", .nanoseconds(6)), ("0S", .zero), ("00000001S", .seconds(1)),
      ("99999999H", .seconds(359_999_996_400)),
    ] as [(String, Duration)])
  func aTimeoutIsUpToEightDigitsAndAUnit(text: String, timeout: Duration) throws {
    #expect(GRPCTimeout.parse(text) == timeout)
    #expect(try GRPCRequestHead(Self.headers + [("grpc-timeout", text)]).timeout == timeout)
  }

  @Test(arguments: ["", "S", "1", "100000000S", "-1S", "+1S", "1s", "1h", "1 S", "1.5S", "١S", "1ms", " 1S", "1S "])
  func anythingElseIsNoTimeout(text: String) {
    #expect(GRPCTimeout.parse(text) == nil)
    expectRefusal(.invalidArgument, .metadataInvalid, Self.headers + [("grpc-timeout", text)])
  }

  // MARK: Encodings

  @Test(arguments: [("gzip", .gzip), ("deflate", .deflate), ("identity", nil)] as [(String, Compression?)])
  func knownEncodingsAreTaken(name: String, encoding: Compression?) throws {
    #expect(try GRPCRequestHead(Self.headers + [("grpc-encoding", name)]).encoding == encoding)
  }

  @Test func anUnknownEncodingIsRefusedWithThoseThatAreKnown() {
    let error = #expect(throws: GRPCRequestHead.Refusal.self) {
      _ = try GRPCRequestHead(Self.headers + [("grpc-encoding", "snappy")])
    }
    guard case .encoding(let error) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(error.code == .unimplemented)
    #expect(error.message == "grpc-encoding snappy is not known here; allowed are identity,gzip,deflate")
  }

  @Test(
    arguments: [
      ("gzip", [.gzip]), ("identity,deflate,gzip", [.gzip, .deflate]), ("identity, gzip , zstd", [.gzip]), ("", []),
    ] as [(String, Set<Compression>)])
  func whatTheCallerAcceptsIsRead(names: String, accepted: Set<Compression>) throws {
    #expect(try GRPCRequestHead(Self.headers + [("grpc-accept-encoding", names)]).accepts == accepted)
  }

  // MARK: Help

  private func replacing(_ name: String, _ value: String) -> Headers {
    Self.headers.map { $0.name == name ? (name, value) : $0 }
  }

  private func expectHTTP(_ expected: Int, _ headers: Headers, sourceLocation: SourceLocation = #_sourceLocation) {
    let refusal = #expect(throws: GRPCRequestHead.Refusal.self, sourceLocation: sourceLocation) {
      _ = try GRPCRequestHead(headers)
    }
    guard case .http(let status) = refusal else {
      Issue.record("\(String(describing: refusal))", sourceLocation: sourceLocation)
      return
    }
    #expect(status == expected, sourceLocation: sourceLocation)
  }

  private func expectRefusal(
    _ code: RPCError.Code, _ reason: RPCError.Reason, _ headers: Headers,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let refusal = #expect(throws: GRPCRequestHead.Refusal.self, sourceLocation: sourceLocation) {
      _ = try GRPCRequestHead(headers)
    }
    guard case .rpc(let error) = refusal else {
      Issue.record("\(String(describing: refusal))", sourceLocation: sourceLocation)
      return
    }
    #expect(error.code == code, sourceLocation: sourceLocation)
    #expect(error.reason == reason, sourceLocation: sourceLocation)
  }
}

@Suite struct GRPCStatusMessageTests {
  @Test(arguments: [
    ("", ""), ("page_size: is -1; it cannot be negative", "page_size: is -1; it cannot be negative"),
    ("100%", "100%25"),
    ("é", "%C3%A9"), ("a\nb\r\u{0}", "a%0Ab%0D%00"), ("\u{7f}", "%7F"), (" ~", " ~"), ("✈️", "%E2%9C%88%EF%B8%8F"),
  ])
  func allButPrintableASCIIIsPercentEncoded(message: String, encoded: String) {
    #expect(GRPCStatusMessage.encode(message) == encoded)
  }

  @Test func anyMessageTravelsAsPrintableASCIIAndComesBack() {
    var chance = SeededGenerator()
    for _ in 0..<300 {
      let message = chance.text(50)
      let encoded = GRPCStatusMessage.encode(message)
      #expect(encoded.utf8.allSatisfy { (0x20...0x7e).contains($0) }, "seed \(chance.seed)")
      #expect(decoded(encoded) == Array(message.utf8), "seed \(chance.seed)")
    }
  }

  private func decoded(_ text: String) -> [UInt8] {
    var (rest, bytes) = (Array(text.utf8)[...], [UInt8]())
    while let first = rest.popFirst() {
      guard first == UInt8(ascii: "%") else {
        bytes.append(first)
        continue
      }
      bytes.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) ?? 0)
      rest = rest.dropFirst(2)
    }
    return bytes
  }
}

@Suite struct GRPCStreamErrorTests {
  @Test func itIsToldAsOnAnyProtocol() {
    #expect(RPCError(.messageTooLarge(bytes: 9)) == .messageTooLarge(bytes: 9))
    #expect(RPCError(.malformed("m")) == RPCError(.internal, .requestMalformed, "m"))
  }
}
