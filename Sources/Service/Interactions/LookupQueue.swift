import Core

/// Decides which gets share a statement, and who has given up, as a value.
///
/// Gets of one tenant that wait at the same time go together; tenants take turns. A tenant with a thousand calls under
/// way would keep every statement to itself, and fill each, while a tenant with a few waits for them to end. So while
/// several tenants ask, a statement has fewer gets, and each tenant at most half of the statements.
struct LookupQueue<Waiter>: ~Copyable {
  typealias Ticket = FairQueue<Tenant, Waiter>.Ticket

  /// What giving up one get comes to.
  enum Cancelled {
    /// It waited, and is to be told.
    case withdrawn(Waiter)
    /// It was the last of its statement that anybody waits for: the statement is given up.
    case abandoned((@Sendable () -> Void)?)
    /// Its statement goes on for others, or it had its response.
    case ignored
  }

  /// The gets of one statement.
  struct Batch {
    var key: UInt64
    var tenant: Tenant
    var waiters: [Waiter]
  }

  /// A statement that is under way, or waits for its connection.
  private struct Statement {
    var tenant: Tenant
    /// Of those that still wait for it.
    var tickets: [Ticket]
    var giveUp: (@Sendable () -> Void)?
    /// It goes on among the reads that scan rows, and counts no more.
    var isLong = false
  }

  private let concurrency: Int
  private let getsPerStatementMax: Int
  /// While several tenants ask.
  private let getsPerSharedTurnMax: Int
  /// So many statements of a tenant go on among the reads that scan rows.
  private let longMax: Int
  private var queue: FairQueue<Tenant, Waiter>
  private var statements: [UInt64: Statement] = [:]
  private var longCount = 0
  private var lastKey: UInt64 = 0
  /// Whose turn it was last, and for how many turns more another tenant is taken to ask, too.
  private var lastTenant: Tenant?
  private var sharedTurnsLeft = 0
  private static var sharedTurns: Int { 32 }
  /// Somebody is about to start what waits.
  private var isStartDue = false

  init(
    concurrency: Int, getsPerStatementMax: Int, getsPerSharedTurnMax: Int, longMax: Int, waitingMax: Int,
    waitingPerTenantMax: Int
  ) {
    self.concurrency = concurrency
    self.getsPerStatementMax = getsPerStatementMax
    self.getsPerSharedTurnMax = getsPerSharedTurnMax
    self.longMax = longMax
    queue = FairQueue(sizeMax: .init(count: waitingMax), tenantSizeMax: .init(count: waitingPerTenantMax))
  }

  /// The gets that wait for a statement.
  var waitingCount: Int { queue.size.count }

  /// nil where too many wait.
  mutating func enqueue(_ waiter: Waiter, of tenant: Tenant) -> Ticket? { queue.enqueue(waiter, of: tenant) }

  /// Whether whoever asks is to start what waits, in a moment: gets that come at the same time shall go together.
  mutating func isToStart() -> Bool {
    guard !isStartDue, statements.count - longCount < concurrency, !queue.isEmpty else { return false }
    isStartDue = true
    return true
  }

  /// The next statement, where one may be started.
  mutating func startNext() -> Batch? {
    isStartDue = false
    guard statements.count - longCount < concurrency, let turn = nextTurn() else { return nil }
    lastKey += 1
    statements[lastKey] = Statement(tenant: turn.tenant, tickets: turn.tickets, giveUp: nil)
    return Batch(key: lastKey, tenant: turn.tenant, waiters: turn.elements)
  }

  private mutating func nextTurn() -> FairQueue<Tenant, Waiter>.Turn? {
    let isShared = queue.tenantsCount > 1 || sharedTurnsLeft > 0
    let countMax = isShared ? getsPerSharedTurnMax : getsPerStatementMax
    let statementsMax = isShared ? max(1, concurrency / 2) : concurrency
    let turn = queue.nextTurn(countMax: countMax) { [statements] tenant in
      statements.values.count { $0.tenant == tenant && !$0.isLong } < statementsMax
    }
    guard let turn else { return nil }
    let isAnother = lastTenant.map { $0 != turn.tenant } ?? false
    sharedTurnsLeft = isAnother ? Self.sharedTurns : max(0, sharedTurnsLeft - 1)
    lastTenant = turn.tenant
    return turn
  }

  mutating func cancel(_ ticket: Ticket) -> Cancelled {
    if let waiter = queue.remove(ticket) { return .withdrawn(waiter) }
    for (key, statement) in statements {
      guard let place = statement.tickets.firstIndex(of: ticket) else { continue }
      statements[key]!.tickets.remove(at: place)
      return statement.tickets.count == 1 ? .abandoned(statement.giveUp) : .ignored
    }
    return .ignored
  }

  /// How a statement can be given up from now on.
  ///
  /// - Parameter isLast: false where the statement may have gone further already, and said so.
  /// - Returns: whether to give it up at once, for all who asked have given up meanwhile.
  mutating func offer(_ giveUp: @escaping @Sendable () -> Void, for key: UInt64, isLast: Bool) -> Bool {
    guard let statement = statements[key], isLast || statement.giveUp == nil else { return false }
    statements[key]!.giveUp = giveUp
    return statement.tickets.isEmpty
  }

  /// The statement waits for a connection again: it can be given up in another way.
  mutating func startsAgain(_ key: UInt64) { statements[key]?.giveUp = nil }

  /// It has taken too long for the others to wait for it, and begins again where they do not.
  ///
  /// - Returns: false where too many of the tenant's have.
  mutating func takesLong(_ key: UInt64) -> Bool {
    guard let tenant = statements[key]?.tenant,
      statements.values.count(where: { $0.tenant == tenant && $0.isLong }) < longMax
    else { return false }
    statements[key]!.isLong = true
    longCount += 1
    startsAgain(key)
    return true
  }

  mutating func ended(_ key: UInt64) {
    if statements.removeValue(forKey: key)?.isLong == true { longCount -= 1 }
  }
}

extension LookupQueue.Batch: Sendable where Waiter: Sendable {}
