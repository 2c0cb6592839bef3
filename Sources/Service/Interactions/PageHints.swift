import Core
import Synchronization

/// Where the last pages of tenants were found, so that the next one is looked for there at once: in which months, of those
/// that were not full; by posting lists, of values that are rare among the newest interactions. It is how a page is read
/// fast, not whether it is right. After some uses each is forgotten, and found out again if it still holds.
final class PageHints: Sendable {
  /// So often a hint is used.
  static let usesMax = 64

  /// The first of the months; nil: from the earliest on.
  struct Hint {
    var first: Month?
  }

  /// Which pages are like one another: those of a conversation, which are rarely full, and those of everything.
  enum Kind {
    case ofConversation, ofEverything

    init?(_ filter: InteractionFilter) {
      if filter.conversationID != nil {
        self = .ofConversation
      } else if filter.selectsByTimeAlone {
        self = .ofEverything
      } else {
        return nil
      }
    }
  }

  private struct Key: Hashable {
    var tenant: Tenant
    var kind: Kind
  }

  private struct Remembered {
    var hint: Hint
    var usesLeft = PageHints.usesMax
  }

  private let hints = Mutex<[Key: Remembered]>([:])

  func hint(for tenant: Tenant, _ kind: Kind) -> Hint? {
    let key = Key(tenant: tenant, kind: kind)
    return hints.withLock { hints in
      guard let remembered = hints[key], remembered.usesLeft > 0 else {
        hints[key] = nil
        return nil
      }
      hints[key]!.usesLeft -= 1
      return remembered.hint
    }
  }

  /// - Parameter hint: nil where nothing is to be kept in mind.
  func remember(_ hint: Hint?, for tenant: Tenant, _ kind: Kind) {
    let key = Key(tenant: tenant, kind: kind)
    hints.withLock { hints in
      // The same hint once more has no more uses for that.
      if let hint, let remembered = hints[key], remembered.hint.first == hint.first { return }
      if hints.count >= Limits.tenantsCachedMax { hints.removeAll() }
      hints[key] = hint.map { Remembered(hint: $0) }
    }
  }

  // MARK: Rare values

  private struct Values: Hashable {
    var tenant: Tenant
    /// Without times.
    var filter: InteractionFilter

    init(_ filter: InteractionFilter, of tenant: Tenant) {
      (self.tenant, self.filter) = (tenant, filter)
      (self.filter.startTime, self.filter.endTime) = (nil, nil)
    }
  }

  enum Rarity {
    /// It was rare once. It may have been a page at the end of a list, which fewer rows fill.
    case seemsRare
    case rare
  }

  private struct RememberedRarity {
    var rarity: Rarity
    var usesLeft = PageHints.usesMax
  }

  private let rare = Mutex<[Values: RememberedRarity]>([:])
  /// A filter's texts take up to some KiB.
  private static let rareMax = 4096

  func rarity(_ filter: InteractionFilter, of tenant: Tenant) -> Rarity? {
    let values = Values(filter, of: tenant)
    return rare.withLock { rare in
      guard let remembered = rare[values], remembered.usesLeft > 0 else {
        rare[values] = nil
        return nil
      }
      if remembered.rarity == .rare { rare[values]!.usesLeft -= 1 }
      return remembered.rarity
    }
  }

  /// It takes two pages in a row on which they are rare.
  func remember(isRare: Bool, _ filter: InteractionFilter, of tenant: Tenant) {
    let values = Values(filter, of: tenant)
    rare.withLock { rare in
      guard isRare else {
        rare[values] = nil
        return
      }
      if rare[values] != nil {
        rare[values]!.rarity = .rare
      } else {
        if rare.count >= Self.rareMax { rare.removeAll() }
        rare[values] = RememberedRarity(rarity: .seemsRare)
      }
    }
  }
}
