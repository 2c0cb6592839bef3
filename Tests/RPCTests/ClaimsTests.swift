import Core
import Messages
import TestSupport
import Testing

/// Who may do what, seen through the socket.
@Suite(.timeLimit(.minutes(5)))
struct ClaimsTests {
  private func get(_ metadata: Metadata) -> Call {
    Call(
      service: GetInteraction.method.service, method: GetInteraction.method.name, metadata: metadata,
      timeout: nil,
      payload: GetInteraction(id: "\(InteractionID(at: .now))").encoded())
  }

  @Test func refusedTokensAreRefusedThroughTheSocket() async throws {
    try await TestServer.with { server in
      let peer = try server.connect()
      for refused in RefusedToken.all {
        let error = try #require(try await peer.reply(to: get(.authorized(by: refused.make()))).error)
        #expect(error.code == .unauthenticated && error.reason == refused.reason, "\(refused.testDescription)")
      }
      try await peer.expectService(as: server.token)
    }
  }

  @Test func metadataThatContradictsIsRefusedThroughTheSocket() async throws {
    try await TestServer.with { server in
      let peer = try server.connect()
      let bearer = "Bearer \(server.token)"
      let cases: [(Metadata, RPCError.Reason)] = [
        (.of(("AUTHORIZATION", bearer), ("X-Tenant-ID", "acme")), .interactionNotFound),
        (.of(("authorization", bearer), ("x-tenant-id", "other")), .tenantMismatch),
        (.of(("authorization", bearer), ("x-tenant-id", "")), .tenantMismatch),
        (.of(("authorization", bearer), ("Authorization", bearer)), .metadataInvalid),
        (.of(("authorization", bearer), ("x-tenant-id", "acme"), ("X-TENANT-ID", "acme")), .metadataInvalid),
        (.of(("x-tenant-id", "acme"), ("x-scopes", everyScope)), .tokenMissing),
        (.of(), .tokenMissing),
      ]
      for (metadata, reason) in cases {
        #expect(try await peer.reply(to: get(metadata)).error?.reason == reason, "\(metadata.entries.map(\.key))")
      }
    }
  }

  @Test func everyMethodNeedsItsScope() async throws {
    try await TestServer.with { server in
      let peer = try server.connect()
      let requests: [(MethodName, any WireMessage, Scope)] = [
        (RecordInteraction.method, RecordInteraction(interaction: .sample()), .record),
        (RecordInteractions.method, RecordInteractions(interactions: [.success(.sample())]), .record),
        (ListInteractions.method, ListInteractions(), .view),
        (GetInteraction.method, GetInteraction(id: "\(InteractionID(at: .now))"), .view),
        (GetStats.method, GetStats(), .view),
      ]
      for (method, request, needed) in requests {
        let other = needed == .view ? Scope.record : .view
        let wrong = [other.rawValue, "", "\(needed.rawValue)x", needed.rawValue.uppercased(), "*"]
        for scope in wrong {
          let error = try #require(
            try await peer.reply(method, request, signedToken(of: "acme", scope: scope)).error, "\(method), \(scope)")
          #expect(error.code == .permissionDenied && error.reason == .scopeMissing)
          #expect(error.message.contains(needed.rawValue) && error.metadata["scope"] == needed.rawValue)
        }
        let right = try await peer.reply(method, request, signedToken(of: "acme", scope: needed.rawValue))
        #expect(right.error == nil || right.error?.code == .notFound)
      }
      #expect(try server.interactionCount() == 2)
    }
  }

  /// What the schema does not know is ignored, whatever it is called elsewhere.
  @Test func tenantIsNeverTakenFromTheBody() async throws {
    try await TestServer.with { server in
      let peer = try server.connect()
      let id = InteractionID(at: .now)
      var draft = InteractionDraft.sample(at: id.time)
      draft.id = "\(id)"
      // Unknown fields 3 to 15, each the text "other".
      let unknown = (3...15 as ClosedRange<UInt8>).flatMap { field -> [UInt8] in [field << 3 | 2, 5] + "other".utf8 }
      func call(_ method: MethodName, _ payload: [UInt8]) -> Call {
        Call(
          service: method.service, method: method.name,
          metadata: .of(("authorization", "Bearer \(server.token)"), ("tenant", "other"), ("tenant-id", "other")),
          timeout: nil, payload: payload + unknown)
      }
      let recorded = try await peer.reply(
        to: call(RecordInteraction.method, RecordInteraction(interaction: draft).encoded()))
      #expect(try Recorded(encoded: recorded.get()).id == id)
      let got = try await peer.reply(to: call(GetInteraction.method, GetInteraction(id: "\(id)").encoded()))
      #expect(try Interaction(encoded: got.get()).id == id)
      #expect(try server.database.sql("SELECT name FROM parley.tenants") == [["acme"]])
      let foreign = try await peer.reply(GetInteraction.method, GetInteraction(id: "\(id)"), signedToken(of: "other"))
      #expect(foreign.error?.code == .notFound)
    }
  }

  /// Strangers learn nothing of a payload, right or wrong.
  @Test func payloadIsNotLookedAtBeforeTheToken() async throws {
    try await TestServer.with { server in
      let peer = try server.connect()
      let call = Call(
        service: GetInteraction.method.service, method: GetInteraction.method.name, metadata: .init(),
        timeout: nil,
        payload: [0xff, 0xff])
      #expect(try await peer.reply(to: call).error?.code == .unauthenticated)
    }
  }
}
