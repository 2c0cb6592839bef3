import Core
import Messages
import Service
import TestSupport
import Testing

/// What callers are told when something is wrong, read from the bytes.
@Suite(.timeLimit(.minutes(5)))
struct ErrorResponseTests {
  /// A request frame, and the response it must get.
  private struct Case {
    var what: String
    var bytes: (_ stream: UInt32) -> [UInt8]
    var code: RPCError.Code
    var reason: RPCError.Reason
    var fields: [String] = []
    var message = ""
  }

  private func call(
    _ method: String, _ payload: [UInt8], _ metadata: Metadata, timeout: Duration? = nil,
    service: String = MethodName.interactionService
  ) -> (UInt32) -> [UInt8] {
    { stream in
      Envelope.frame(
        Call(service: service, method: method, metadata: metadata, timeout: timeout, payload: payload), stream: stream)
    }
  }

  @Test func everyKindOfErrorHasItsCodeReasonAndDetails() async throws {
    try await TestServer.with { server in
      let id = try await server.record()
      let bearer = ("authorization", "Bearer \(server.token)")
      let mine = Metadata.of(bearer)
      var wrong = InteractionDraft.sample()
      wrong.content.conversationID = ""
      wrong.content.confidenceScore = .nan
      var conflict = InteractionDraft.sample(at: id.time)
      conflict.id = id.description
      conflict.content.agentResponse = "something else"
      let absent = InteractionID(at: .now)
      var many = mine
      for number in 0..<Limits.metadataEntriesMax { many.add("key-\(number)", "") }
      let get = GetInteraction(id: "\(absent)").encoded()
      let expired = try await TokenSigner.hs256().token(claims(["exp": "1"]))
      let blind = try await signedToken(of: "acme", scope: "interactions:record")

      let cases = [
        Case(
          what: "unknown method", bytes: call("DeleteInteraction", [], mine), code: .unimplemented,
          reason: .methodUnknown, message: "DeleteInteraction"),
        Case(
          what: "unknown service", bytes: call("GetStats", [], mine, service: "parley.v2.InteractionService"),
          code: .unimplemented, reason: .methodUnknown, message: "parley.v2.InteractionService"),
        Case(what: "no token", bytes: call("GetStats", [], .init()), code: .unauthenticated, reason: .tokenMissing),
        Case(
          what: "false token", bytes: call("GetStats", [], .authorized(by: "a.b.c")), code: .unauthenticated,
          reason: .tokenInvalid),
        Case(
          what: "expired token", bytes: call("GetStats", [], .authorized(by: expired)), code: .unauthenticated,
          reason: .tokenExpired),
        Case(
          what: "another tenant", bytes: call("GetStats", [], .of(bearer, ("x-tenant-id", "other"))),
          code: .unauthenticated, reason: .tenantMismatch),
        Case(
          what: "two tokens", bytes: call("GetStats", [], .of(bearer, bearer)), code: .unauthenticated,
          reason: .metadataInvalid),
        Case(
          what: "too many metadata", bytes: call("GetStats", [], many), code: .invalidArgument,
          reason: .metadataInvalid, message: "\(Limits.metadataEntriesMax)"),
        Case(
          what: "too much metadata",
          bytes: call(
            "GetStats", [], .of(bearer, ("x", String(repeating: "x", count: Limits.metadataBytesMax)))),
          code: .invalidArgument, reason: .metadataInvalid, message: "\(Limits.metadataBytesMax)"),
        Case(
          what: "scope lacking", bytes: call("GetStats", [], .authorized(by: blind)), code: .permissionDenied,
          reason: .scopeMissing, message: "analytics:view"),
        Case(
          what: "malformed payload", bytes: call("GetStats", [0xff], mine), code: .invalidArgument,
          reason: .requestMalformed, message: "parley.v1.GetStatsRequest"),
        Case(
          what: "malformed envelope", bytes: { frame([0xff], stream: $0) }, code: .invalidArgument,
          reason: .requestMalformed),
        Case(
          what: "wrong fields", bytes: call("RecordInteraction", RecordInteraction(interaction: wrong).encoded(), mine),
          code: .invalidArgument, reason: .fieldInvalid,
          fields: ["interaction.conversation_id", "interaction.confidence_score"], message: "0 to 1"),
        Case(
          what: "no interaction", bytes: call("RecordInteraction", [], mine), code: .invalidArgument,
          reason: .fieldInvalid, fields: ["interaction"]),
        Case(
          what: "text not UTF-8", bytes: call("GetInteraction", [0x0a, 0x02, 0xc3, 0x28], mine), code: .invalidArgument,
          reason: .fieldInvalid, fields: ["id"], message: "UTF-8"),
        Case(
          what: "text with NUL", bytes: call("GetInteraction", [0x0a, 0x01, 0x00], mine), code: .invalidArgument,
          reason: .fieldInvalid, fields: ["id"], message: "NUL"),
        Case(
          what: "negative page size", bytes: call("ListInteractions", ListInteractions(pageSize: -1).encoded(), mine),
          code: .invalidArgument, reason: .fieldInvalid, fields: ["page_size"], message: "-1"),
        Case(
          what: "foreign page token",
          bytes: call("ListInteractions", ListInteractions(pageToken: "made up").encoded(), mine),
          code: .invalidArgument, reason: .pageTokenInvalid, fields: ["page_token"]),
        Case(
          what: "too many at once",
          bytes: call("RecordInteractions", [UInt8]((0..<1001).flatMap { _ in [0x0a, 0x00] as [UInt8] }), mine),
          code: .invalidArgument, reason: .fieldInvalid, fields: ["interactions"], message: "1000"),
        Case(
          what: "conflict", bytes: call("RecordInteraction", RecordInteraction(interaction: conflict).encoded(), mine),
          code: .alreadyExists, reason: .interactionConflict, message: "\(id)"),
        Case(
          what: "absent", bytes: call("GetInteraction", get, mine), code: .notFound, reason: .interactionNotFound,
          message: "\(absent)"),
        Case(
          what: "too late", bytes: call("GetInteraction", get, mine, timeout: .nanoseconds(-1)),
          code: .deadlineExceeded, reason: .deadlineExceeded),
        Case(
          what: "even stream", bytes: { frame([], stream: $0 + 1) }, code: .invalidArgument, reason: .streamIDInvalid),
        Case(
          what: "a stream of a unary method",
          bytes: { stream in
            var frame = call("GetInteraction", get, mine)(stream)
            frame[9] = 2
            return frame
          }, code: .unimplemented, reason: .streamingUnsupported),
        Case(
          what: "too large", bytes: { frame([UInt8](repeating: 0, count: Limits.frameBytesMax + 1), stream: $0) },
          code: .resourceExhausted, reason: .messageTooLarge, message: "\(Limits.frameBytesMax)"),
      ]

      let peer = try server.connect()
      for (number, test) in cases.enumerated() {
        try await peer.send(test.bytes(UInt32(2 * number + 1)))
        let answer = try ErrorResponse(try await peer.nextFrame().data)
        #expect(answer.code == UInt64(test.code.rawValue), "\(test.what)")
        #expect(answer.reasons == [test.reason.rawValue] && answer.domains == ["parley"], "\(test.what)")
        #expect(answer.fields == test.fields, "\(test.what)")
        #expect(!answer.message.isEmpty && answer.message.contains(test.message), "\(test.what): \(answer.message)")
        // containerd's client unmarshals the payload before it looks at the status.
        #expect(!answer.hasPayload, "\(test.what)")
        #expect(answer.metadata == (test.reason == .scopeMissing ? ["scope": "analytics:view"] : [:]), "\(test.what)")
      }
      try await peer.send(call("GetStats", [], mine)(UInt32(2 * cases.count + 1)))
      #expect(try Envelope.reply(try await peer.nextFrame().data).error == nil)
    }
  }

  /// A message must travel as a header value too, and on one line of a log.
  @Test func methodNamesAreRepeatedInPart() async throws {
    try await TestServer.with { server in
      let peer = try server.connect()
      let call = Call(
        service: String(repeating: "s", count: 100_000), method: String(repeating: "m", count: 100_000),
        metadata: .authorized(by: server.token), timeout: nil, payload: [])
      let error = try #require(try await peer.reply(to: call).error)
      #expect(error.code == .unimplemented && error.message.utf8.count < 1_000)
    }
  }

  @Test func badRecordCostsItsNeighboursNothing() async throws {
    try await TestServer.with { server in
      var wrong = InteractionDraft.sample()
      wrong.content.contextSize = -1
      let drafts: [InteractionDraft] = [.sample(), wrong, .sample()]
      let results: [Result<Recorded, RPCError>] = try await server.connect().answer(
        RecordInteractions.method, RecordInteractions(interactions: drafts.map { .success($0) }), server.token)
      #expect(results.map { $0.error?.code } == [nil, .invalidArgument, nil])
      #expect(results[1].error?.violations.map(\.field) == ["interactions[1].context_size"])
      #expect(results[1].error?.reason == .fieldInvalid)
      #expect(try server.interactionCount() == 2)
    }
  }

  // MARK: PostgreSQL

  /// Words that PostgreSQL and libpq use, and that no caller should see.
  private let databaseWords = [
    "postgres", "sql", "libpq", "socket", "fatal", "relation", "server closed", "role", "connect", "nonexistent",
    "column", "syntax", "schema", "constraint",
  ]

  private func expectNoDatabaseWords(_ data: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
    let text = String(decoding: data, as: UTF8.self).lowercased()
    for word in databaseWords { #expect(!text.contains(word), "\(word)", sourceLocation: sourceLocation) }
  }

  private func requests() -> [(MethodName, any WireMessage)] {
    [
      (ListInteractions.method, ListInteractions()),
      (GetInteraction.method, GetInteraction(id: "\(InteractionID(at: .now))")),
      (GetStats.method, GetStats()), (RecordInteraction.method, RecordInteraction(interaction: .sample())),
      (RecordInteractions.method, RecordInteractions(interactions: [.success(.sample())])),
    ]
  }

  @Test func databaseThatWasNeverThereIsUnavailable() async throws {
    try await withFolder { folder in
      let server = try await RunningServer.start([.unix(path: "\(folder)/s")])
      let peer = try RawConnection(to: server.addresses[0])
      for (method, request) in requests() {
        try await peer.start(method, request, signedToken(of: "acme"))
        let data = try await peer.nextFrame().data
        let answer = try ErrorResponse(data)
        #expect(answer.code == 14 && answer.reasons == ["DATABASE_UNAVAILABLE"] && answer.domains == ["parley"])
        #expect(answer.hasRetryInfo && !answer.hasPayload)
        expectNoDatabaseWords(data)
      }
      try await server.stop()
    }
  }

  @Test func databaseThatGoesAwayComesBack() async throws {
    try await TestServer.with { server in
      let id = try await server.record()
      let peer = try server.connect()
      try await peer.expectService(as: server.token)
      let outage = try await Outage(of: server.database)
      for (method, request) in requests() {
        try await peer.start(method, request, server.token)
        let data = try await peer.nextFrame().data
        let answer = try ErrorResponse(data)
        #expect(answer.code == 14 && answer.reasons == ["DATABASE_UNAVAILABLE"] && answer.hasRetryInfo, "\(method)")
        expectNoDatabaseWords(data)
      }
      try outage.end()
      try await eventually("reading works again") {
        try await peer.reply(GetInteraction.method, GetInteraction(id: "\(id)"), server.token).error == nil
      }
      try await eventually("recording works again") {
        try await peer.reply(RecordInteraction.method, RecordInteraction(interaction: .sample()), server.token).error
          == nil
      }
    }
  }

  @Test func whatPostgreSQLSaidStaysInTheLog() async throws {
    try await TestServer.with { server in
      try await server.record()
      let peer = try server.connect()
      try server.database.sql("ALTER TABLE parley.interactions RENAME TO elsewhere")
      for (method, request) in requests() {
        try await peer.start(method, request, server.token)
        let data = try await peer.nextFrame().data
        let answer = try ErrorResponse(data)
        #expect(answer.code == 13 && answer.reasons == ["INTERNAL_ERROR"] && answer.domains == ["parley"], "\(method)")
        expectNoDatabaseWords(data)
      }
      try server.database.sql("ALTER TABLE parley.elsewhere RENAME TO interactions")
      try await peer.expectService(as: server.token)
    }
  }

  @Test func rowTheDatabaseRefusesFailsAlone() async throws {
    try await TestServer.with { server in
      try await server.record()
      try server.database.sql(
        "ALTER TABLE parley.interactions ADD CONSTRAINT no_sevens CHECK (context_size <> 7) NOT VALID")
      var refused = InteractionDraft.sample()
      refused.content.contextSize = 7
      let peer = try server.connect()
      try await peer.start(
        RecordInteractions.method,
        RecordInteractions(interactions: [.success(.sample()), .success(refused), .success(.sample())]), server.token)
      let data = try await peer.nextFrame().data
      expectNoDatabaseWords(data)
      #expect(!String(decoding: data, as: UTF8.self).contains("no_sevens"))
      let results = try [Result<Recorded, RPCError>](encoded: Envelope.reply(data).get())
      #expect(results.map { $0.error?.reason } == [nil, .interactionRefused, nil])
      #expect(try server.interactionCount() == 3)
    }
  }
}

/// A database that takes no connections and has lost those it had.
struct Outage {
  private let server: DatabaseSession
  private let name: String

  init(of database: TestDatabase) async throws {
    let server = try DatabaseSession.server()
    self.server = server
    name = try database.sql("SELECT current_database()")[0][0]
    try server.sql("ALTER DATABASE \(name) ALLOW_CONNECTIONS false")
    let sessions = "FROM pg_stat_activity WHERE datname = '\(name)'"
    try server.sql("SELECT pg_terminate_backend(pid) \(sessions)")
    try await eventually("all sessions are gone") { try server.sql("SELECT \(sessions)").isEmpty }
  }

  func end() throws {
    try server.sql("ALTER DATABASE \(name) ALLOW_CONNECTIONS true")
  }
}
