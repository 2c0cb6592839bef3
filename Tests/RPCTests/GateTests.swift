import Core
import RPC
import TestSupport
import Testing

/// The server's clock in these tests.
private let now = Timestamp(milliseconds: 1_750_000_000_000)
private let tenant = Tenant("airline")!

@Suite struct GateTests {
  @Test func aCallerWithTheScopeIsLetThroughAsHisTenant() throws {
    let draft = InteractionDraft.sample(at: now)
    let claims = Claims(tenant: tenant, scopes: ["interactions:record"])
    let admitted = try Gate().admit(RecordInteraction(interaction: draft), from: claims, at: now)
    #expect(admitted.tenant == tenant)
    #expect(admitted.request.content.conversationID == draft.content.conversationID)
  }

  @Test func recordingNeedsTheScopeToRecord() {
    expectRefusal(RecordInteraction(interaction: .sample(at: now)), without: .record)
    expectRefusal(RecordInteractions(interactions: []), without: .record)
  }

  @Test func readingNeedsTheScopeToView() {
    expectRefusal(ListInteractions(), without: .view)
    expectRefusal(GetInteraction(id: InteractionID(at: now).description), without: .view)
    expectRefusal(GetStats(), without: .view)
  }

  /// A stranger to a method learns nothing of its fields.
  @Test func theScopeIsAskedForBeforeTheFieldsAreLookedAt() {
    expectRefusal(RecordInteraction(interaction: InteractionDraft()), without: .record)
    expectRefusal(GetInteraction(id: "no id"), without: .view)
    expectRefusal(ListInteractions(pageSize: -1, pageToken: "no token"), without: .view)
  }

  @Test func aCallerWithTheScopeStillMeetsTheRules() {
    let error = #expect(throws: RPCError.self) {
      _ = try Gate().admit(GetInteraction(id: "no id"), from: .all(of: "airline"), at: now)
    }
    #expect(error?.code == .invalidArgument)
    #expect(error?.violations.map(\.field) == ["id"])
  }

  @Test(arguments: ["analytics:view ", "Analytics:View", "analytics:*", "analytics", "*", "", "analytics:viewer"])
  func onlyTheExactScopeCounts(scope: String) {
    #expect(throws: RPCError.self) {
      _ = try Gate().admit(GetStats(), from: Claims(tenant: tenant, scopes: [scope]), at: now)
    }
  }

  @Test func theGateAsksByTheClockItIsGiven() throws {
    let draft = InteractionDraft.sample(at: now + 100_000_000)
    let request = RecordInteraction(interaction: draft)
    #expect(throws: RPCError.self) { _ = try Gate().admit(request, from: .all(of: "airline"), at: now) }
    _ = try Gate().admit(request, from: .all(of: "airline"), at: now + 100_000_000)
  }

  private func expectRefusal(
    _ request: some Request, without scope: Scope, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let others = Set(Scope.allCases).subtracting([scope]).map(\.rawValue)
    let error = #expect(throws: RPCError.self, sourceLocation: sourceLocation) {
      _ = try Gate().admit(request, from: Claims(tenant: tenant, scopes: Set(others)), at: now)
    }
    #expect(error?.code == .permissionDenied, sourceLocation: sourceLocation)
    #expect(error?.reason == .scopeMissing, sourceLocation: sourceLocation)
    #expect(error?.message == "the token lacks the scope \(scope.rawValue)", sourceLocation: sourceLocation)
    #expect(error?.metadata == ["scope": scope.rawValue], sourceLocation: sourceLocation)
  }
}
