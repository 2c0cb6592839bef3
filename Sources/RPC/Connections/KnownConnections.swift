import Core
import NIOCore

/// The known connections of one listener, by tenant and all together.
///
/// Connections are used far more often than one of them has to make room. So a use only leaves its time with the
/// connection, and whoever looks for the one that was used longest ago takes those in the order in which they were looked
/// at before, and moves those that were used since to the end: of a few that are equally old any may be found, and
/// a search costs the same however many connections there are.
struct KnownConnections {
  struct Ticket {
    fileprivate var tenant: Tenant
    fileprivate var ofAll: AgeQueue<AcceptedConnection>.Ticket
    fileprivate var ofTenant: AgeQueue<AcceptedConnection>.Ticket
  }

  /// A search looks at so many connections.
  static let looksMax = 32

  private var all = AgeQueue<AcceptedConnection>()
  private var byTenant: [Tenant: AgeQueue<AcceptedConnection>] = [:]

  func count(of tenant: Tenant) -> Int { byTenant[tenant]?.count ?? 0 }

  mutating func append(_ connection: AcceptedConnection, of tenant: Tenant) -> Ticket {
    let now = connection.lastUse
    return Ticket(
      tenant: tenant, ofAll: all.append(connection, at: now),
      ofTenant: byTenant[tenant, default: AgeQueue()].append(connection, at: now))
  }

  mutating func remove(_ ticket: Ticket) {
    all.remove(ticket.ofAll)
    byTenant[ticket.tenant]?.remove(ticket.ofTenant)
    if byTenant[ticket.tenant]?.count == 0 { byTenant[ticket.tenant] = nil }
  }

  /// Of the tenant's connections that was used longest ago; nil where it has none.
  mutating func longestUnused(of tenant: Tenant) -> AcceptedConnection? {
    for _ in 0..<Self.looksMax {
      guard let (connection, since) = byTenant[tenant]?.oldest, connection.lastUse > since else { break }
      byTenant[tenant]?.renewOldest(at: connection.lastUse)
    }
    return byTenant[tenant]?.oldest?.element
  }

  /// One that has been idle for so long; nil where the search finds none.
  mutating func idle(for time: TimeAmount, at now: NIODeadline) -> AcceptedConnection? {
    for _ in 0..<min(Self.looksMax, all.count) {
      guard let connection = all.oldest?.element else { return nil }
      if connection.lastUse + time <= now { return connection }
      all.renewOldest(at: connection.lastUse)
    }
    return nil
  }
}
