import Domain
import Testing

@Suite struct InteractionIDTests {
  @Test func printsAndParsesTheSame() {
    let id = InteractionID(at: Timestamp(milliseconds: 1_716_163_215_919))
    #expect(InteractionID(id.description) == id)
    #expect(id.isVersion7)
    #expect(id.time.milliseconds == 1_716_163_215_919)
  }
}
