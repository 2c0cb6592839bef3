import Core

/// What a read may cost.
enum ReadKind: Int, CaseIterable {
  /// A get: it goes by keys.
  case get
  /// A list or statistics, which go by indexes and sums and end soon.
  case list
  /// A list or statistics that read through rows, as many as there are; and whatever else has taken long.
  case scan
}

/// Decides which read has which connection of a pool, as a value without a clock of its own. Connections are numbers.
///
/// Reads that wait are served tenant by tenant in turn, and kind by kind. Those that scan rows have at most `scansMax`
/// connections, and together with the other lists and statistics, of three connections and more, all but one: gets do
/// not wait for the end of the others, nor lists and statistics for the end of a scan.
///
/// While several tenants read, the lists, statistics and scans of each have a quarter of the connections at most. More at a time
/// would take the processor from everybody else's reads, which a free connection does not help.
///
/// A connection that could not be made rests while another of the pool is of use.
struct PoolQueue<Waiter>: ~Copyable {
  typealias Instant = ContinuousClock.Instant

  /// A connection that is given out, and for what.
  struct Lease: Equatable {
    var connection: Int
    var kind: ReadKind
    var tenant: Tenant
  }

  struct Ticket {
    fileprivate var kind: ReadKind
    fileprivate var ticket: FairQueue<Tenant, Waiter>.Ticket
  }

  enum Acquired {
    case lease(Lease)
    case waits(Ticket)
    case full
  }

  static var restPause: Duration { .seconds(1) }
  /// Several tenants read for so long after a read of another tenant than the one before it.
  static var sharedTime: Duration { .seconds(1) }

  private let connectionCount: Int
  private let scansMax: Int
  /// Lists, statistics and scans of one tenant, while several tenants read.
  private let sharedMax: Int
  private var queues: [FairQueue<Tenant, Waiter>]
  /// The reads under way, of each kind.
  private var counts = ReadKind.allCases.map { _ in 0 }
  /// Those among them that are no gets.
  private var countsByTenant: [Tenant: Int] = [:]
  private var lastTenant: Tenant?
  private var sharedUntil: Instant?
  /// The kind that was served longest ago stands first.
  private var turns = ReadKind.allCases
  /// The one that was used last is used first, so that no more are opened than are needed.
  private var idle: [Int]
  private var resting: [(connection: Int, until: Instant)] = []
  /// Whether each connection could be made when it was last needed.
  private var isUseful: [Bool]

  init(connectionCount: Int, scansMax: Int, waitingMax: Int, waitingPerTenantMax: Int) {
    self.connectionCount = connectionCount
    self.scansMax = scansMax
    sharedMax = max(1, connectionCount / 4)
    queues = ReadKind.allCases.map { _ in
      FairQueue(sizeMax: .init(count: waitingMax), tenantSizeMax: .init(count: waitingPerTenantMax))
    }
    idle = (0..<connectionCount).reversed()
    isUseful = Array(repeating: true, count: connectionCount)
  }

  /// The reads that wait.
  func waitingCount(_ kind: ReadKind) -> Int { queues[kind.rawValue].size.count }

  /// - Parameter waiter: is kept only where it has to wait.
  mutating func acquire(_ waiter: Waiter, of tenant: Tenant, _ kind: ReadKind, at now: Instant) -> Acquired {
    wakeRested(at: now)
    if let lastTenant, lastTenant != tenant { sharedUntil = now + Self.sharedTime }
    lastTenant = tenant
    // Nobody waits while there is a connection for it, so this is nobody else's.
    if mayStart(kind), mayHave(kind, at: now)(tenant), let connection = idle.popLast() {
      return .lease(lease(connection, kind, to: tenant))
    }
    guard let ticket = queues[kind.rawValue].enqueue(waiter, of: tenant) else { return .full }
    return .waits(Ticket(kind: kind, ticket: ticket))
  }

  /// Takes a read off the queue; nil where it waits no longer.
  mutating func cancel(_ ticket: Ticket) -> Waiter? {
    queues[ticket.kind.rawValue].remove(ticket.ticket)
  }

  /// Takes a connection back, and gives out those that are free.
  ///
  /// - Returns: who gets which; and whether a read that got nowhere for want of a connection is to be tried again, on
  ///   another.
  mutating func release(
    _ lease: Lease, isConnected: Bool, at now: Instant
  ) -> (next: [(waiter: Waiter, lease: Lease)], triesAgain: Bool) {
    counts[lease.kind.rawValue] -= 1
    if lease.kind != .get {
      let count = countsByTenant[lease.tenant]! - 1
      countsByTenant[lease.tenant] = count > 0 ? count : nil
    }
    isUseful[lease.connection] = isConnected
    let triesAgain = !isConnected && isUseful.contains(true)
    if triesAgain {
      resting.append((lease.connection, now + Self.restPause))
    } else {
      idle.append(lease.connection)
    }
    wakeRested(at: now)
    var next: [(Waiter, Lease)] = []
    while !idle.isEmpty, let (waiter, kind, tenant) = nextWaiter(at: now) {
      next.append((waiter, self.lease(idle.removeLast(), kind, to: tenant)))
    }
    return (next, triesAgain)
  }

  private mutating func nextWaiter(at now: Instant) -> (Waiter, ReadKind, Tenant)? {
    for place in turns.indices where mayStart(turns[place]) {
      let kind = turns[place]
      let mayHave = mayHave(kind, at: now)
      let turn = queues[kind.rawValue].nextTurn(countMax: 1, where: mayHave)
      guard let turn else { continue }
      turns.append(turns.remove(at: place))
      return (turn.elements[0], kind, turn.tenant)
    }
    return nil
  }

  private func mayStart(_ kind: ReadKind) -> Bool {
    let scans = counts[ReadKind.scan.rawValue]
    let others = counts[ReadKind.list.rawValue] + scans
    if kind == .get { return true }
    return (kind == .list || scans < scansMax) && (connectionCount < 3 || others < connectionCount - 1)
  }

  /// Which tenants may have one more. One that waits for this has a read under way, at whose end it is looked at again.
  private func mayHave(_ kind: ReadKind, at now: Instant) -> (Tenant) -> Bool {
    guard kind != .get, let sharedUntil, now < sharedUntil else { return { _ in true } }
    return { [countsByTenant, sharedMax] in countsByTenant[$0, default: 0] < sharedMax }
  }

  private mutating func lease(_ connection: Int, _ kind: ReadKind, to tenant: Tenant) -> Lease {
    counts[kind.rawValue] += 1
    if kind != .get { countsByTenant[tenant, default: 0] += 1 }
    return Lease(connection: connection, kind: kind, tenant: tenant)
  }

  /// Once none of the others is of use, none rests: each is tried for whoever asks.
  private mutating func wakeRested(at now: Instant) {
    if resting.isEmpty { return }
    let isAnyUseful = isUseful.contains(true)
    let due = resting.filter { $0.until <= now || !isAnyUseful }
    resting.removeAll { $0.until <= now || !isAnyUseful }
    idle.insert(contentsOf: due.map(\.connection), at: 0)
  }
}
