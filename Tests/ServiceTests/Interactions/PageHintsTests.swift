import Core
import TestSupport
import Testing

@testable import Service

/// What was found out about a tenant's pages holds for some of them, and is then found out again.
struct PageHintsTests {
  private let hints = PageHints()
  private let filter = {
    var filter = InteractionFilter()
    filter.modelUsed = "small"
    return filter
  }()

  @Test func monthsAreForgottenAfterSomeUsesHoweverOftenTheyAreFoundAgain() {
    let hint = PageHints.Hint(first: Month(index: 600))
    hints.remember(hint, for: .a, .ofConversation)
    for _ in 0..<PageHints.usesMax {
      #expect(hints.hint(for: .a, .ofConversation)?.first == hint.first)
      hints.remember(hint, for: .a, .ofConversation)
    }
    #expect(hints.hint(for: .a, .ofConversation) == nil)
    // Then a page without it finds out what holds now.
    hints.remember(PageHints.Hint(first: Month(index: 650)), for: .a, .ofConversation)
    #expect(hints.hint(for: .a, .ofConversation)?.first == Month(index: 650))
  }

  @Test func otherMonthsTakeTheirPlaceAtOnce() {
    hints.remember(PageHints.Hint(first: Month(index: 600)), for: .a, .ofEverything)
    hints.remember(PageHints.Hint(first: nil), for: .a, .ofEverything)
    #expect(hints.hint(for: .a, .ofEverything) != nil && hints.hint(for: .a, .ofEverything)?.first == nil)
    #expect(hints.hint(for: .b, .ofEverything) == nil && hints.hint(for: .a, .ofConversation) == nil)
    hints.remember(nil, for: .a, .ofEverything)
    #expect(hints.hint(for: .a, .ofEverything) == nil)
  }

  @Test func rareValuesAreLookedForAmongTheNewestAgainAfterSomeUses() {
    for _ in 0..<2 { hints.remember(isRare: true, filter, of: .a) }
    for _ in 0..<PageHints.usesMax {
      #expect(hints.rarity(filter, of: .a) == .rare)
      #expect(hints.rarity(filter, of: .b) == nil)
      hints.remember(isRare: true, filter, of: .a)
    }
    #expect(hints.rarity(filter, of: .a) == nil)
    for _ in 0..<2 { hints.remember(isRare: true, filter, of: .a) }
    hints.remember(isRare: false, filter, of: .a)
    #expect(hints.rarity(filter, of: .a) == nil)
  }

  /// The newest interactions fill every page of a list but the last.
  @Test func onePageThatTheNewestDoNotFillMakesNoValueRare() {
    hints.remember(isRare: true, filter, of: .a)
    #expect(hints.rarity(filter, of: .a) == .seemsRare)
    hints.remember(isRare: false, filter, of: .a)
    hints.remember(isRare: true, filter, of: .a)
    #expect(hints.rarity(filter, of: .a) == .seemsRare)
  }
}
