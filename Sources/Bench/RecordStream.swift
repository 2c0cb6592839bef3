public import Core

/// The endless stream of records of some tenants: which content each has, and who it is.
///
/// What it chooses is the same for the same seed; ids and conversations are also new for every `freshness`, so that
/// two runs never record the same interaction.
public struct RecordStream: Sendable {
  /// One record to be.
  public struct Item: Sendable {
    /// Of the pool's contents.
    public var content: Int
    public var tenant: Int
    public var id: InteractionID
    /// Printed as an id is.
    public var conversation: InteractionID
  }

  /// A conversation under way.
  private struct Conversation {
    var key: InteractionID
    var turnsLeft: Int
  }

  private static let conversationsAtOnce = 64

  private let pool: ContentPool
  private let tenants: Shares
  private let freshness: UInt64
  private var choices: SeededRandom
  private var ids: SeededRandom
  private var conversations: [[Conversation]]
  private var number = 0

  public init(pool: ContentPool, tenants: Shares, tenantCount: Int, seed: UInt64, freshness: UInt64) {
    self.pool = pool
    self.tenants = tenants
    self.freshness = freshness
    choices = SeededRandom(seed: seed)
    ids = SeededRandom(seed: mixed(seed) ^ freshness)
    conversations = Array(
      repeating: Array(
        repeating: Conversation(key: InteractionID(high: 0, low: 0), turnsLeft: 0), count: Self.conversationsAtOnce),
      count: pool.conversations.isEmpty ? tenantCount : 0)
  }

  /// - Parameter tenant: whose it is to be; nil: any one's.
  public mutating func next(at time: Timestamp, of tenant: Int? = nil) -> Item {
    let content = pool.pick(number, &choices)
    let tenant = tenant ?? tenants.pick(&choices)
    let conversation =
      pool.conversations.isEmpty ? nextTurn(of: tenant) : replayed(pool.conversations[content], of: tenant)
    number += 1
    return Item(content: content, tenant: tenant, id: newID(at: time), conversation: conversation)
  }

  private mutating func newID(at time: Timestamp) -> InteractionID {
    InteractionID(
      high: UInt64(time.milliseconds) << 16 | 0x7000 | ids.next() & 0x0fff, low: 1 << 63 | ids.next() >> 2)
  }

  private mutating func nextTurn(of tenant: Int) -> InteractionID {
    let place = choices.index(below: Self.conversationsAtOnce)
    if conversations[tenant][place].turnsLeft == 0 {
      conversations[tenant][place] = Conversation(
        key: InteractionID(high: ids.next(), low: ids.next()), turnsLeft: choices.integer(in: 2...20))
    }
    conversations[tenant][place].turnsLeft -= 1
    return conversations[tenant][place].key
  }

  /// The same for all turns of a conversation in one pass over the pool.
  private func replayed(_ conversation: Int, of tenant: Int) -> InteractionID {
    let pass = number / pool.contents.count
    let key = mixed(UInt64(conversation) << 32 ^ UInt64(pass)) ^ freshness
    return InteractionID(high: mixed(key), low: mixed(key ^ UInt64(tenant) &+ 0x517c_c1b7))
  }
}
