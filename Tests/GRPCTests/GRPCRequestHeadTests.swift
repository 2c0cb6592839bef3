import Core
import Foundation
import Messages
import Testing

struct GRPCRequestHeadTests {
  private static let path = "/parley.v1.InteractionService/GetStats"

  /// A right request's headers, with some set otherwise, or left out, and more of them.
  private func head(
    _ changes: [String: String?] = [:], more: [(name: String, value: String)] = []
  ) throws(GRPCRequestHead.Refusal) -> GRPCRequestHead {
    var headers: [(name: String, value: String)] = []
    for (name, value) in [
      (":method", "POST"), (":scheme", "http"), (":path", Self.path), (":authority", "here"), ("te", "trailers"),
      ("content-type", "application/grpc"),
    ] {
      if let value = changes[name] ?? value { headers.append((name, value)) }
    }
    return try GRPCRequestHead(headers + more)
  }

  private func refusal(
    _ changes: [String: String?] = [:], more: [(name: String, value: String)] = []
  ) -> GRPCRequestHead.Refusal? {
    do throws(GRPCRequestHead.Refusal) {
      _ = try head(changes, more: more)
      return nil
    } catch {
      return error
    }
  }

  @Test func rightHead() throws {
    let head = try head(more: [
      ("authorization", "Bearer x"), ("grpc-timeout", "250m"), ("grpc-encoding", "gzip"),
      ("grpc-accept-encoding", "identity, deflate,gzip,br"), ("user-agent", "test"), ("x-bin", "AAE"), ("x", "1"),
      ("x", "2"),
    ])
    #expect(head.service == "parley.v1.InteractionService" && head.method == "GetStats")
    #expect(head.timeout == .milliseconds(250))
    #expect(head.encoding == .gzip && head.accepts == [.gzip, .deflate])
    #expect(head.metadata.entries.map(\.key) == ["authorization", "x-bin", "x", "x"])
    #expect(head.metadata["x"] == ["1", "2"] && head.metadata["x-bin"] == ["AAE"])
  }

  @Test func headThatSaysLittle() throws {
    let head = try head()
    #expect(head.timeout == nil && head.encoding == nil && head.accepts == nil && head.metadata.entries.isEmpty)
    #expect(try self.head(more: [("grpc-encoding", "identity")]).encoding == nil)
    #expect(try self.head(more: [("grpc-accept-encoding", "identity")]).accepts == [])
  }

  @Test func whatIsNoGRPCIsRefusedInHTTP() {
    for method in ["GET", "PUT", "post", ""] {
      guard case .http(405)? = refusal([":method": method]) else {
        Issue.record("\(method)")
        return
      }
    }
    for type in [nil, "", "text/html", "application/grpc-web", "application/grpc+json", "application/grpcs"] {
      guard case .http(415)? = refusal(["content-type": type]) else {
        Issue.record("\(type ?? "none")")
        return
      }
    }
    for type in [
      "application/grpc+proto", "application/grpc;charset=utf-8", "APPLICATION/GRPC", "application/grpc ;a=b",
    ] {
      #expect(throws: Never.self) { try head(["content-type": type]) }
    }
  }

  @Test func pathsThatAreNoMethod() {
    for path in ["", "/", "//", "GetStats", "a/b", "/a", "/a/b/c", "*"] {
      guard case .rpc(let error)? = refusal([":path": path]) else {
        // Two names, if empty ones: for the server to find no method by.
        #expect(path == "//")
        continue
      }
      #expect(error.code == .unimplemented && error.reason == .methodUnknown, "\(path)")
    }
  }

  @Test func unknownEncodingNamesTheKnown() {
    for name in ["br", "GZIP", ""] {
      guard case .encoding(let error)? = refusal(more: [("grpc-encoding", name)]) else {
        Issue.record("\(name)")
        return
      }
      #expect(error.code == .unimplemented && error.reason == .encodingUnknown)
    }
    #expect(GRPCRequestHead.acceptEncoding == "identity,gzip,deflate")
  }

  @Test func wrongTimeoutIsRefusedInGRPC() {
    guard case .rpc(let error)? = refusal(more: [("grpc-timeout", "1x")]) else {
      Issue.record("not refused")
      return
    }
    #expect(error.code == .invalidArgument && error.reason == .metadataInvalid)
    // But what is no gRPC at all is told so first.
    guard case .http(415)? = refusal(["content-type": "text/html"], more: [("grpc-timeout", "1x")]) else {
      Issue.record("not refused")
      return
    }
  }

  @Test func metadataIsBounded() throws {
    let most = (0..<Limits.metadataEntriesMax).map { (name: "k\($0)", value: "") }
    #expect(try head(more: most).metadata.entries.count == most.count)
    guard case .rpc(let error)? = refusal(more: most + [("one-more", "")]) else {
      Issue.record("not refused")
      return
    }
    #expect(error.code == .invalidArgument && error.reason == .metadataInvalid)
  }

  @Test func namesAreRepeatedInPart() {
    let long = "e" + String(repeating: "\u{301}", count: 10_000)
    #expect(RPCError.methodUnknown(service: long, method: long).message.utf8.count < 500)
  }

  // MARK: grpc-timeout

  @Test func timeoutsOfEveryUnit() {
    let units: [(String, Duration)] = [
      ("H", .seconds(3600)), ("M", .seconds(60)), ("S", .seconds(1)), ("m", .milliseconds(1)), ("u", .microseconds(1)),
      ("n", .nanoseconds(1)),
    ]
    for (unit, duration) in units {
      for count in [0, 1, 99, 99_999_999] {
        #expect(GRPCTimeout.parse("\(count)\(unit)") == duration * count)
      }
    }
    #expect(GRPCTimeout.parse("00000007S") == .seconds(7))
  }

  @Test(arguments: [
    "", "1", "S", "123456789S", "-1S", "+1S", "1.5S", "1s", "1h", "1 S", " 1S", "1SS", "0x1S", "١S", "1Ｓ",
  ])
  func wrongTimeouts(text: String) {
    #expect(GRPCTimeout.parse(text) == nil)
  }

  // MARK: grpc-message

  @Test func messagesArePercentEncoded() {
    #expect(GRPCStatusMessage.encode("") == "")
    #expect(GRPCStatusMessage.encode("plain ASCII, ~!") == "plain ASCII, ~!")
    #expect(GRPCStatusMessage.encode("50%") == "50%25")
    #expect(GRPCStatusMessage.encode("\t\né☺😈\u{7f}\0") == "%09%0A%C3%A9%E2%98%BA%F0%9F%98%88%7F%00")
    for scalar in (0...0x2ff).compactMap(Unicode.Scalar.init) {
      let text = "a\(Character(scalar))b"
      let encoded = GRPCStatusMessage.encode(text)
      #expect(encoded.utf8.allSatisfy { (0x20...0x7e).contains($0) } && encoded.removingPercentEncoding == text)
    }
  }
}
