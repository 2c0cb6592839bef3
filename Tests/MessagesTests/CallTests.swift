import Core
import Messages
import Testing

@Suite struct MetadataTests {
  @Test func keysAreLowerCasedAndRepeatsAndOrderKept() {
    var metadata = Metadata()
    metadata.add("X-Scopes", "b")
    metadata.add("authorization", "Bearer x")
    metadata.add("x-SCOPES", "a")
    #expect(metadata.entries.map(\.key) == ["x-scopes", "authorization", "x-scopes"])
    #expect(metadata["x-scopes"] == ["b", "a"])
    #expect(metadata["authorization"] == ["Bearer x"])
    #expect(metadata["X-Scopes"] == [])
    #expect(metadata["x"] == [])
  }

  @Test func valuesAreKeptAsTheyAre() {
    var metadata = Metadata()
    metadata.add("k", " Ünicode ✈️ ")
    #expect(metadata["k"] == [" Ünicode ✈️ "])
  }

  @Test func itWeighsItsKeysAndValues() {
    var metadata = Metadata()
    #expect(metadata.bytes == 0)
    metadata.add("ab", "c")
    metadata.add("é", "")
    #expect(metadata.bytes == 5)
  }

  @Test func orderMakesADifference() {
    var (a, b) = (Metadata(), Metadata())
    a.add("k", "1")
    a.add("k", "2")
    b.add("k", "2")
    b.add("k", "1")
    #expect(a != b)
    #expect(a == a)
    #expect(Set([a, b, a]).count == 2)
  }
}

@Suite struct MethodNameTests {
  @Test func methodsAreNamedAsInTheSchema() {
    let names: [MethodName] = [
      RecordInteraction.method, RecordInteractions.method, ListInteractions.method, GetInteraction.method,
      GetStats.method,
    ]
    #expect(names.allSatisfy { $0.service == "parley.v1.InteractionService" })
    #expect(
      names.map(\.name) == [
        "RecordInteraction", "RecordInteractions", "ListInteractions", "GetInteraction", "GetStats",
      ])
    #expect(GetStats.method.path == "/parley.v1.InteractionService/GetStats")
  }
}
