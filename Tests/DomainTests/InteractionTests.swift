import Domain
import TestSupport
import Testing

@Suite struct InteractionTests {
  @Test func itsTimeIsThatOfItsID() {
    #expect(Interaction(id: InteractionID(at: now), content: .init()).createdAt == now)
  }

  @Test func aDraftOfItRecordsItAgain() throws {
    let interaction = try checked(.sample(at: now))
    #expect(try checked(InteractionDraft(interaction)) == interaction)
  }

  typealias Change = @Sendable (inout InteractionContent, String) -> Void

  /// What is stored is bytes: a retry in another normal form of Unicode would change them.
  @Test(
    arguments: [
      { $0.conversationID = $1 }, { $0.customerMessage = $1 }, { $0.agentResponse = $1 }, { $0.modelUsed = $1 },
      { $0.handoffReason = $1 },
    ] as [Change])
  func textInAnotherNormalFormIsOtherContent(set: Change) {
    var (composed, decomposed) = (InteractionContent(), InteractionContent())
    set(&composed, "caf\u{e9}")
    set(&decomposed, "cafe\u{301}")
    #expect(composed != decomposed)
  }

  @Test func anIntentNamedInAnotherNormalFormIsAnotherIntent() {
    #expect(Intent(name: "\u{e9}", confidence: 1) != Intent(name: "e\u{301}", confidence: 1))
  }
}
