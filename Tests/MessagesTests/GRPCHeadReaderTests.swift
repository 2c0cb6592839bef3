import Core
import Messages
import Testing

/// One reader for the requests of a connection.
struct GRPCHeadReaderTests {
  private static let plain = [
    (":method", "POST"), (":path", "/s/M"), ("content-type", "application/grpc"),
    ("authorization", "Bearer a long token"),
    ("x", "1"),
  ]

  private func read(_ headers: [(String, String)], _ reader: inout GRPCHeadReader) throws -> GRPCRequestHead {
    for (name, value) in headers {
      Array(name.utf8).withUnsafeBytes { name in Array(value.utf8).withUnsafeBytes { reader.add(name, $0) } }
    }
    return try reader.finish()
  }

  private func metadata(_ entries: [(String, String)]) -> Metadata {
    var metadata = Metadata()
    for (key, value) in entries { metadata.add(key, value) }
    return metadata
  }

  @Test func requestsDoNotInheritFromOneAnother() throws {
    var reader = GRPCHeadReader()
    let own = [("authorization", "Bearer a long token"), ("x", "1")]
    let first = try read(
      Self.plain + [("grpc-timeout", "1S"), ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")], &reader)
    #expect(first.metadata == metadata(own) && first.timeout == .seconds(1) && first.encoding == .gzip)
    #expect(first.accepts == [.gzip])
    let second = try read(Self.plain, &reader)
    #expect(second.metadata == metadata(own) && second.timeout == nil && second.encoding == nil)
    #expect(second.accepts == nil && second.service == "s" && second.method == "M")
    #expect(throws: GRPCRequestHead.Refusal.self) { try read([], &reader) }
    let path = Self.plain.map { $0.0 == ":path" ? (":path", "/s/Other") : $0 }
    #expect(try read(path, &reader).method == "Other")
  }

  /// Every pair of lists out of a few, one after the other.
  @Test func metadataIsTheRequestsOwnWhateverCameBefore() throws {
    let lists: [[(String, String)]] = [
      [], [("a", "1")], [("a", "2")], [("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")], [("a", "1"), ("a", "1")],
      [("a", "1"), ("b", "2"), ("c", "")],
    ]
    for before in lists {
      for list in lists {
        var reader = GRPCHeadReader()
        _ = try read(Self.plain.prefix(3) + before, &reader)
        #expect(try read(Self.plain.prefix(3) + list, &reader).metadata == metadata(list), "\(before), then \(list)")
      }
    }
  }

  @Test func refusedRequestLeavesNothing() throws {
    var reader = GRPCHeadReader()
    #expect(throws: GRPCRequestHead.Refusal.self) {
      try read(Self.plain + [("big", String(repeating: "x", count: Limits.metadataBytesMax))], &reader)
    }
    #expect(throws: GRPCRequestHead.Refusal.self) { try read(Self.plain + [("grpc-timeout", "soon")], &reader) }
    #expect(throws: GRPCRequestHead.Refusal.self) { try read(Self.plain + [(":path", "nowhere")], &reader) }
    #expect(try read(Self.plain, &reader).metadata.entries.count == 2)
  }
}
