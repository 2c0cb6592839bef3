import TestSupport
import Testing

@testable import Core

@Suite struct PageTokenTests {
  static let id = InteractionID(high: 0x0197_7420_dc00_7abc, low: 0x8def_0123_4567_89ab)

  @Test func aTokenLeadsBackToItsID() throws {
    var chance = SeededGenerator()
    for _ in 0..<200 {
      let id = InteractionID(high: chance.next(), low: chance.next())
      let token = PageToken.encode(after: id, tenant: tenant, filter: .init())
      #expect(try PageToken.decode(token, tenant: tenant, filter: .init()) == id, "seed \(chance.seed)")
    }
  }

  @Test func aTokenOfAnotherTenantIsRefused() {
    let token = PageToken.encode(after: Self.id, tenant: tenant, filter: .init())
    expectRefusal(of: token, tenant: Tenant("airline-1")!)
  }

  typealias Change = @Sendable (inout InteractionFilter) -> Void

  /// Filters that are easily taken for one another.
  static let filters: [InteractionFilter] =
    ([
      { _ in },
      { $0.conversationID = "" },
      { $0.conversationID = "a" },
      { $0.conversationID = "ab" },
      { $0.modelUsed = "" },
      { $0.modelUsed = "a" },
      { ($0.conversationID, $0.modelUsed) = ("a", "b") },
      { ($0.conversationID, $0.modelUsed) = ("ab", "") },
      { ($0.conversationID, $0.modelUsed) = ("", "ab") },
      { $0.messageType = "a" },
      { $0.messageType = "true" },
      { $0.handoffTriggered = true },
      { $0.handoffTriggered = false },
      { $0.handoffReason = "true" },
      { $0.handoffReason = "a" },
      { $0.intent = "a" },
      { $0.minConfidence = 0 },
      { $0.minConfidence = 0.5 },
      { $0.minConfidence = (0.5).nextUp },
      { $0.maxConfidence = 0.5 },
      { $0.startTime = now },
      { $0.startTime = now + 1 },
      { $0.endTime = now },
    ] as [Change]).map { change in
      var filter = InteractionFilter()
      change(&filter)
      return filter
    }

  @Test(arguments: filters) func aTokenLeadsOnlyOnWithItsOwnFilter(filter: InteractionFilter) throws {
    let token = PageToken.encode(after: Self.id, tenant: tenant, filter: filter)
    for other in Self.filters {
      if other == filter {
        #expect(try PageToken.decode(token, tenant: tenant, filter: other) == Self.id)
      } else {
        expectRefusal(of: token, filter: other)
      }
    }
  }

  @Test func filtersThatAreEqualShareTheirTokens() throws {
    var (zero, minusZero) = (InteractionFilter(), InteractionFilter())
    zero.minConfidence = 0
    minusZero.minConfidence = -0.0
    try #require(zero == minusZero)
    let token = PageToken.encode(after: Self.id, tenant: tenant, filter: zero)
    #expect(try PageToken.decode(token, tenant: tenant, filter: minusZero) == Self.id)
  }

  @Test func anyOtherCharacterAnywhereIsRefused() {
    let token = PageToken.encode(after: Self.id, tenant: tenant, filter: .init())
    for place in token.indices {
      for character in "0123456789abcdefABCDEFgG+- _\0é" where character.lowercased() != token[place].lowercased() {
        expectRefusal(of: token.replacingCharacters(at: place, with: character))
      }
    }
  }

  /// Its hexadecimal digits may come in upper case; it then leads where it led before.
  @Test func aTokenInUpperCaseLeadsToTheSameID() throws {
    let token = PageToken.encode(after: Self.id, tenant: tenant, filter: .init())
    #expect(try PageToken.decode(token.uppercased(), tenant: tenant, filter: .init()) == Self.id)
  }

  @Test(arguments: [
    "", "1", "2", "garbage", "1 ", "1\0", "0197742", String(repeating: "0", count: 49),
    String(repeating: "1", count: 49),
    "1" + String(repeating: "z", count: 48), "1" + String(repeating: "é", count: 24),
    "1" + String(repeating: "+", count: 48), "1-" + String(repeating: "0", count: 47),
    String(repeating: "1", count: 10_000),
  ])
  func garbageIsRefused(token: String) {
    expectRefusal(of: token)
  }

  @Test func aTokenCutShortOrGoneOnIsRefused() {
    let token = PageToken.encode(after: Self.id, tenant: tenant, filter: .init())
    for length in 0..<token.count { expectRefusal(of: String(token.prefix(length))) }
    expectRefusal(of: token + "0")
    expectRefusal(of: " " + token)
    expectRefusal(of: token + token)
  }

  @Test func aTokenOfAnotherVersionIsRefused() {
    let token = PageToken.encode(after: Self.id, tenant: tenant, filter: .init())
    expectRefusal(of: "2" + token.dropFirst())
  }

  private func expectRefusal(
    of token: String, tenant: Tenant = tenant, filter: InteractionFilter = .init(),
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: RPCError.self, "\(token)", sourceLocation: sourceLocation) {
      _ = try PageToken.decode(token, tenant: tenant, filter: filter)
    }
    #expect(error?.code == .invalidArgument, sourceLocation: sourceLocation)
    #expect(error?.reason == .pageTokenInvalid, sourceLocation: sourceLocation)
    #expect(error?.violations.map(\.field) == ["page_token"], sourceLocation: sourceLocation)
    #expect(error?.message.hasPrefix("page_token: ") == true, sourceLocation: sourceLocation)
  }
}

extension String {
  fileprivate func replacingCharacters(at place: Index, with character: Character) -> String {
    var copy = self
    copy.replaceSubrange(place...place, with: String(character))
    return copy
  }
}
