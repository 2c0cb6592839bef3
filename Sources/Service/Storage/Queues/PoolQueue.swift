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
/// Reads that wait are served tenant by tenant in turn, and kind by kind. Scans use at most `scansMax` connections. Where there
/// are three connections or more, one is kept for gets. So gets do not wait for the end of other reads, nor do lists and
/// statistics wait for the end of a scan.
///
/// While several tenants read, each has a quarter of the connections at most for its lists and statistics, and as many for its
/// scans. More would take the processor from everybody else's reads, which a free connection does not help.
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

  /// Who waited, and what it gets.
  typealias Served = (waiter: Waiter, lease: Lease)

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
  /// The reads of one tenant and one kind, other than gets, while several tenants read.
  private let sharedMax: Int
  private var queues: [FairQueue<Tenant, Waiter>]
  /// The reads under way, of each kind.
  private var counts = ReadKind.allCases.map { _ in 0 }
  /// The same by tenant, without gets.
  private var countsByTenant: [[Tenant: Int]] = ReadKind.allCases.map { _ in [:] }
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
    // If reads of this kind wait already, this one waits behind them, and `serve` gives out the connections.
    if queues[kind.rawValue].isEmpty, mayStart(kind), mayHave(kind, at: now)(tenant), let connection = idle.popLast() {
      return .lease(lease(connection, kind, to: tenant))
    }
    guard let ticket = queues[kind.rawValue].enqueue(waiter, of: tenant) else { return .full }
    return .waits(Ticket(kind: kind, ticket: ticket))
  }

  /// Takes a read off the queue; nil where it waits no longer.
  mutating func cancel(_ ticket: Ticket) -> Waiter? {
    queues[ticket.kind.rawValue].remove(ticket.ticket)
  }

  /// Takes a connection back.
  ///
  /// - Returns: whether a read that got nowhere for want of a connection is to be tried again, on another.
  mutating func release(_ lease: Lease, isConnected: Bool, at now: Instant) -> Bool {
    count(lease, by: -1)
    isUseful[lease.connection] = isConnected
    let triesAgain = !isConnected && isUseful.contains(true)
    if triesAgain {
      resting.append((lease.connection, now + Self.restPause))
    } else {
      idle.append(lease.connection)
    }
    return triesAgain
  }

  /// Gives out the connections that are free. To be called whenever a read waits or a connection was given back.
  ///
  /// - Returns: who gets which.
  mutating func serve(at now: Instant) -> [Served] {
    wakeRested(at: now)
    var next: [Served] = []
    while !idle.isEmpty, let (waiter, kind, tenant) = nextWaiter(at: now) {
      next.append((waiter, lease(idle.removeLast(), kind, to: tenant)))
    }
    return next
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

  /// Which tenants may have one more. One that may not has a read of that kind under way, at whose end it is looked at again.
  private func mayHave(_ kind: ReadKind, at now: Instant) -> (Tenant) -> Bool {
    if kind == .get { return { _ in true } }
    let isShared = sharedUntil.map { now < $0 } ?? false
    return { [countsByTenant, sharedMax] tenant in
      countsByTenant[kind.rawValue][tenant, default: 0] < sharedMax
        || !isShared && countsByTenant.allSatisfy { $0.keys.allSatisfy { $0 == tenant } }
    }
  }

  private mutating func lease(_ connection: Int, _ kind: ReadKind, to tenant: Tenant) -> Lease {
    let lease = Lease(connection: connection, kind: kind, tenant: tenant)
    count(lease, by: 1)
    return lease
  }

  private mutating func count(_ lease: Lease, by difference: Int) {
    let (kind, tenant) = (lease.kind.rawValue, lease.tenant)
    counts[kind] += difference
    guard lease.kind != .get else { return }
    let count = countsByTenant[kind][tenant, default: 0] + difference
    countsByTenant[kind][tenant] = count > 0 ? count : nil
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
