import Testing
import Wire

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

@Suite struct MethodTests {
  @Test func methodsAreNamedAsInTheSchema() {
    #expect(Method.service == "parley.v1.InteractionService")
    #expect(
      Method.allCases.map(\.rawValue) == [
        "RecordInteraction", "RecordInteractions", "ListInteractions", "GetInteraction", "GetStats",
      ])
  }
}
