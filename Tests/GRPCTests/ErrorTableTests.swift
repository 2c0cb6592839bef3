import Core
import Messages
import TestSupport
import Testing

/// The same bad things asked over both protocols get the same code, message and details.
@Suite(.timeLimit(.minutes(5)))
struct ErrorTableTests {
  private struct Case {
    var what: String
    var method: String
    var payload: [UInt8] = []
    var metadata: [(String, String)] = []
    var service = MethodName.interactionService
    var timeout: Duration?
    var code: RPCError.Code
    var reason: RPCError.Reason
    /// As `grpc-timeout` has it.
    var grpcTimeout: String?
  }

  @Test func bothProtocolsTellTheSame() async throws {
    try await GRPCServer.with { server in
      let client = try await server.connect()
      let mine = server.authorized
      let record = path(RecordInteraction.method)
      var draft = InteractionDraft.sample()
      let id = InteractionID(at: .now)
      draft.createdAt = id.time
      draft.id = id.description
      #expect(try await client.call(record, RecordInteraction(interaction: draft).encoded(), mine).code == 0)
      var conflict = draft
      conflict.content.agentResponse = "something else, é%☺"
      var wrong = draft
      wrong.content.conversationID = ""
      wrong.content.confidenceScore = .nan
      wrong.content.messageType = "Ünknown\n"
      let absent = InteractionID(at: .now)
      let recordName = RecordInteraction.method.name
      let cases = [
        Case(what: "unknown method", method: "Delete%Ü", code: .unimplemented, reason: .methodUnknown),
        Case(
          what: "unknown service", method: "GetStats", service: "parley.v2.X", code: .unimplemented,
          reason: .methodUnknown),
        Case(what: "no token", method: "GetStats", code: .unauthenticated, reason: .tokenMissing),
        Case(
          what: "false token", method: "GetStats", metadata: [("authorization", "Bearer a.b.c")],
          code: .unauthenticated,
          reason: .tokenInvalid),
        Case(
          what: "another tenant", method: "GetStats", metadata: mine + [("x-tenant-id", "other")],
          code: .unauthenticated, reason: .tenantMismatch),
        Case(
          what: "two tokens", method: "GetStats", metadata: mine + mine, code: .unauthenticated,
          reason: .metadataInvalid),
        Case(
          what: "too many metadata", method: "GetStats",
          metadata: mine + (0..<Limits.metadataEntriesMax).map { ("key-\($0)", "") }, code: .invalidArgument,
          reason: .metadataInvalid),
        Case(
          what: "too much metadata", method: "GetStats",
          metadata: mine + [("key", String(repeating: "a", count: Limits.metadataBytesMax))], code: .invalidArgument,
          reason: .metadataInvalid),
        Case(
          what: "malformed payload", method: "GetStats", payload: [0xff], metadata: mine, code: .invalidArgument,
          reason: .requestMalformed),
        Case(
          what: "wrong fields", method: recordName, payload: RecordInteraction(interaction: wrong).encoded(),
          metadata: mine, code: .invalidArgument, reason: .fieldInvalid),
        Case(
          what: "text not UTF-8", method: "GetInteraction", payload: [0x0a, 0x02, 0xc3, 0x28], metadata: mine,
          code: .invalidArgument, reason: .fieldInvalid),
        Case(
          what: "foreign page token", method: "ListInteractions",
          payload: ListInteractions(pageToken: "made up").encoded(), metadata: mine, code: .invalidArgument,
          reason: .pageTokenInvalid),
        Case(
          what: "conflict", method: recordName, payload: RecordInteraction(interaction: conflict).encoded(),
          metadata: mine, code: .alreadyExists, reason: .interactionConflict),
        Case(
          what: "absent", method: "GetInteraction", payload: GetInteraction(id: "\(absent)").encoded(), metadata: mine,
          code: .notFound, reason: .interactionNotFound),
        Case(
          what: "too late", method: "GetInteraction", payload: GetInteraction(id: "\(absent)").encoded(),
          metadata: mine, timeout: .nanoseconds(-1), code: .deadlineExceeded, reason: .deadlineExceeded,
          grpcTimeout: "0n"),
        Case(
          what: "unknown name for health", method: "Check", payload: [0x0a, 0x01, 0x78],
          service: "grpc.health.v1.Health",
          code: .notFound, reason: .serviceUnknown),
      ]
      for test in cases {
        var metadata = Metadata()
        for (key, value) in test.metadata { metadata.add(key, value) }
        let call = Call(
          service: test.service, method: test.method, metadata: metadata, timeout: test.timeout, payload: test.payload)
        guard case .failure(let framed) = try await TTRPCCaller.reply(to: call, at: server.address) else {
          Issue.record("\(test.what): succeeded over ttRPC")
          continue
        }
        let timeout = test.grpcTimeout.map { [("grpc-timeout", $0)] } ?? []
        let answer = try await client.call("/\(test.service)/\(test.method)", test.payload, test.metadata + timeout)
        let error = try answer.error()
        #expect(framed.code == test.code && framed.reason == test.reason, "\(test.what): \(framed)")
        #expect(error == framed, "\(test.what): \(error)")
        #expect(answer.code == Int(framed.code.rawValue) && answer.message == framed.message, "\(test.what)")
        // Trailers-Only: one block, in HTTP 200.
        #expect(answer.blocks.count == 1 && answer.header(":status") == "200" && answer.data.isEmpty, "\(test.what)")
      }
    }
  }

  @Test func databaseAwayIsTheSameToo() async throws {
    try await GRPCServer.with { server in
      let admin = try DatabaseSession.server()
      let name = try server.database.sql("SELECT current_database()")[0][0]
      try admin.sql("ALTER DATABASE \(name) ALLOW_CONNECTIONS false")
      try admin.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '\(name)'")
      let client = try await server.connect()
      let answer = try await client.call(path(GetStats.method), GetStats().encoded(), server.authorized)
      let error = try answer.error()
      #expect(answer.code == 14 && error.reason == .databaseUnavailable && error.retryAfter == .seconds(1))
      var metadata = Metadata()
      metadata.add("authorization", "Bearer \(server.token)")
      let call = Call(
        service: MethodName.interactionService, method: "GetStats", metadata: metadata, timeout: nil,
        payload: GetStats().encoded())
      #expect(try await TTRPCCaller.reply(to: call, at: server.address) == .failure(error))
      try admin.sql("ALTER DATABASE \(name) ALLOW_CONNECTIONS true")
    }
  }
}
