import Core
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

  @Test(
    arguments: [
      { $0.conversationID = "x" }, { $0.customerMessage = "x" }, { $0.agentResponse = "x" },
      { $0.detectedIntents[0].name = "x" }, { $0.detectedIntents[1].confidence = 0.5 },
      { $0.detectedIntents.removeLast() }, { $0.detectedIntents.reverse() }, { $0.modelUsed = "x" },
      { $0.contextSize += 1 }, { $0.processingTimeMilliseconds += 1 },
      { $0.confidenceScore = $0.confidenceScore.nextUp }, { $0.handoffTriggered = false }, { $0.handoffReason = "x" },
      { $0.messageType = "x" }, { $0.promptTokens += 1 }, { $0.completionTokens += 1 }, { $0.estimatedCostNanos += 1 },
    ] as [@Sendable (inout InteractionContent) -> Void])
  func everyFieldIsPartOfTheContent(change: @Sendable (inout InteractionContent) -> Void) {
    let content = InteractionDraft.sample(at: now).content
    var other = content
    #expect(other == content)
    #expect(other.hashValue == content.hashValue)
    change(&other)
    #expect(other != content)
  }

  /// As SQL can leave them in a row.
  @Test func tokensThatNoServerWouldTakeAddUpToTheNearestThatFits() {
    var content = InteractionContent()
    (content.promptTokens, content.completionTokens) = (.max, 1)
    #expect(content.totalTokens == .max)
    (content.promptTokens, content.completionTokens) = (.min, -1)
    #expect(content.totalTokens == .min)
  }

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
