import Core
import Synchronization

/// Where the last pages of tenants were found, so that the next one is looked for there at once: in which months, of those
/// that were not full; by posting lists, of values that are rare among the newest interactions. It is how a page is read
/// fast, not whether it is right.
final class PageHints: Sendable {
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

  private let hints = Mutex<[Key: Hint]>([:])

  func hint(for tenant: Tenant, _ kind: Kind) -> Hint? { hints.withLock { $0[Key(tenant: tenant, kind: kind)] } }

  /// - Parameter hint: nil where nothing is to be kept in mind.
  func remember(_ hint: Hint?, for tenant: Tenant, _ kind: Kind) {
    hints.withLock { hints in
      if hints.count >= Limits.tenantsCachedMax { hints.removeAll() }
      hints[Key(tenant: tenant, kind: kind)] = hint
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

  private let rare = Mutex<Set<Values>>([])
  /// A filter's texts take up to some KiB.
  private static let rareMax = 4096

  func isRare(_ filter: InteractionFilter, of tenant: Tenant) -> Bool {
    rare.withLock { $0.contains(Values(filter, of: tenant)) }
  }

  func remember(isRare: Bool, _ filter: InteractionFilter, of tenant: Tenant) {
    rare.withLock { rare in
      if rare.count >= Self.rareMax { rare.removeAll() }
      if isRare { rare.insert(Values(filter, of: tenant)) } else { rare.remove(Values(filter, of: tenant)) }
    }
  }
}
