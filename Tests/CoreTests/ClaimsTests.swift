import Core
import Testing

@Suite struct TenantTests {
  @Test(arguments: [
    "a", "airline-0", "Überlandwerk München", "租户", " ", "a/b'; --", String(repeating: "x", count: 128),
  ])
  func aNameIsKeptAsItIs(name: String) {
    #expect(Tenant(name)?.description == name)
  }

  @Test(arguments: ["", String(repeating: "x", count: 129), String(repeating: "€", count: 43)])
  func aNameIs1To128BytesLong(name: String) {
    #expect(Tenant(name) == nil)
  }

  @Test(arguments: ["\0", "a\0", "a\nb", "\t", "\r\n", "\u{1b}[1m", "\u{7f}", "\u{85}", "\u{9f}"])
  func aNameHoldsNoControlCharacters(name: String) {
    #expect(Tenant(name) == nil)
  }

  @Test func theSameNameIsTheSameTenant() {
    #expect(Tenant("caf\u{e9}") == Tenant("caf\u{e9}"))
    #expect(Set([Tenant("a"), Tenant("a"), Tenant("b")]).count == 2)
  }

  /// PostgreSQL keeps their rows apart by their bytes; nothing in here may mix them up.
  @Test func namesThatLookTheSameAreDifferentTenants() throws {
    let composed = try #require(Tenant("caf\u{e9}"))
    let decomposed = try #require(Tenant("cafe\u{301}"))
    #expect(composed != decomposed)
    #expect(Set([composed, decomposed]).count == 2)
  }
}

@Suite struct ScopeTests {
  @Test func scopesAreNamedAsTokensNameThem() {
    #expect(Scope.allCases.map(\.rawValue) == ["interactions:record", "analytics:view"])
  }
}
