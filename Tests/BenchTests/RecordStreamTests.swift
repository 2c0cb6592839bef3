import Core
import Messages
import Testing

@testable import Bench

@Suite struct RecordStreamTests {
  private func stream(
    _ pool: ContentPool = ContentPool(seed: 1, count: 50), tenants: Int = 3, freshness: UInt64 = 5
  ) -> RecordStream {
    RecordStream(pool: pool, tenants: .zipf(tenants), tenantCount: tenants, seed: 2, freshness: freshness)
  }

  private static let time = Timestamp(milliseconds: 1_780_000_000_123)

  @Test func aPatchedTemplateDecodesToItsInteraction() throws {
    let pool = ContentPool(seed: 1, count: 50)
    let templates = RecordTemplates(pool.contents)
    var stream = stream(pool)
    for number in 0..<500 {
      let time = Self.time + Int64(number)
      let item = stream.next(at: time)
      let interaction = try RecordInteraction(encoded: templates.request(item)).checked(now: time)
      var expected = pool.contents[item.content]
      expected.conversationID = item.conversation.description
      #expect(interaction == Interaction(id: item.id, content: expected))
      #expect(interaction.id.isVersion7)
      #expect(interaction.createdAt == time)
    }
  }

  @Test func templatesOneAfterTheOtherAreABatch() throws {
    let pool = ContentPool(seed: 1, count: 50)
    let templates = RecordTemplates(pool.contents)
    var stream = stream(pool)
    let items = (0..<20).map { _ in stream.next(at: Self.time, of: 1) }
    let batch = try RecordInteractions(encoded: items.flatMap(templates.request))
    #expect(try batch.interactions.map { try $0.get().id } == items.map(\.id.description))
    #expect(items.allSatisfy { $0.tenant == 1 })
  }

  @Test func anIDIsWrittenAsItIsDescribed() {
    var random = SeededRandom(seed: 9)
    for _ in 0..<1000 {
      let id = InteractionID(high: random.next(), low: random.next())
      let text = String(unsafeUninitializedCapacity: 36) {
        writeText(of: id, to: UnsafeMutableRawPointer($0.baseAddress!))
        return 36
      }
      #expect(text == id.description)
    }
  }

  @Test func theSameSeedChoosesTheSameAndFreshnessOnlyRenames() {
    var (a, b, other) = (stream(), stream(), stream(freshness: 6))
    for _ in 0..<500 {
      let (item, same, renamed) = (a.next(at: Self.time), b.next(at: Self.time), other.next(at: Self.time))
      #expect((item.id, item.conversation) == (same.id, same.conversation))
      #expect((item.content, item.tenant) == (renamed.content, renamed.tenant))
      #expect(item.id != renamed.id && item.conversation != renamed.conversation)
    }
  }

  @Test func aConversationHasTwoToTwentyTurnsOfOneTenant() {
    var stream = stream()
    var turns: [InteractionID: [Int]] = [:]
    for _ in 0..<20_000 {
      let item = stream.next(at: Self.time)
      turns[item.conversation, default: []].append(item.tenant)
    }
    #expect(turns.values.allSatisfy { Set($0).count == 1 && $0.count <= 20 })
    // All but those under way at the end.
    #expect(turns.values.count { $0.count < 2 } < 3 * 64)
  }

  @Test func aReplayKeepsItsOrderAndItsConversations() {
    let contents = ["a", "b", "a", "c"].map { name in
      var content = InteractionContent()
      content.conversationID = name
      return content
    }
    var stream = stream(ContentPool(replaying: contents), tenants: 1)
    let items = (0..<8).map { _ in stream.next(at: Self.time) }
    #expect(items.map(\.content) == [0, 1, 2, 3, 0, 1, 2, 3])
    let conversations = items.map(\.conversation)
    #expect(conversations[0] == conversations[2])
    #expect(conversations[4] == conversations[6])
    #expect(Set(conversations).count == 6)
  }

  @Test func aSpanRisesFromItsStartToItsEnd() {
    let span = Workload.Span(milliseconds: 1000, count: 10, end: Timestamp(milliseconds: 5000))
    #expect((0..<10).map { span.time(of: $0).milliseconds } == (0..<10).map { 4000 + 100 * Int64($0) })
  }
}
