import Core
import Messages
import NIOCore
import Synchronization

/// The open connections of all listeners, how many there may be, and which makes room when there are more.
///
/// A connection is undecided until it has shown its protocol, then a stranger until one of its calls had a valid
/// token, and known from then on. Known connections make room only when they are idle, and after the others. Each
/// listener keeps a quarter of an equal share of the connections for itself, so that those who fill one listener do not
/// keep others out. And the last eighth of the places is left to tenants that have few: beyond that, each further known
/// connection takes the place of one of the tenant that has most of the listener's, if that is more than a sixteenth of all.
final class ConnectionTable: Sendable {
  private struct Listener {
    var open = 0
    var undecided = AgeQueue<AcceptedConnection>()
    var strangers = AgeQueue<AcceptedConnection>()
    var known = KnownConnections()
  }

  private enum Place {
    case undecided(AgeQueue<AcceptedConnection>.Ticket)
    case stranger(AgeQueue<AcceptedConnection>.Ticket)
    case known(KnownConnections.Ticket, of: Tenant)
  }

  private struct State {
    var listeners: [Listener]
    let largeMin: Int
    var places: [ObjectIdentifier: Place] = [:]
    /// The known connections of each tenant that has any.
    var counts: [Tenant: Int] = [:]
    /// Those of them that have more than a sixteenth of the places.
    var large: Set<Tenant> = []

    /// - Returns: false when it is in none, being known or gone.
    mutating func removeFromQueue(_ connection: AcceptedConnection) -> Bool {
      switch places[ObjectIdentifier(connection)] {
      case .undecided(let ticket): listeners[connection.listener].undecided.remove(ticket)
      case .stranger(let ticket): listeners[connection.listener].strangers.remove(ticket)
      case .known, nil: return false
      }
      return true
    }

    mutating func count(_ more: Int, of tenant: Tenant) {
      let count = counts[tenant, default: 0] + more
      counts[tenant] = count > 0 ? count : nil
      if count > largeMin { large.insert(tenant) } else { large.remove(tenant) }
    }

    /// Of the tenants that have many connections, the one with most of the listener's, which may be this one itself; nil where
    /// this one has more of them.
    func tenantWithMost(of listener: Int, noFewerThan tenant: Tenant) -> Tenant? {
      let known = listeners[listener].known
      let most = large.max { known.count(of: $0) < known.count(of: $1) }
      return most.flatMap { known.count(of: $0) >= max(known.count(of: tenant), 1) ? $0 : nil }
    }

    mutating func forget(_ connection: AcceptedConnection) -> AcceptedConnection {
      if case .known(let ticket, let tenant) = places.removeValue(forKey: ObjectIdentifier(connection)) {
        listeners[connection.listener].known.remove(ticket)
        count(-1, of: tenant)
      }
      listeners[connection.listener].open -= 1
      return connection
    }
  }

  /// This part of the places is left to tenants that have few.
  private static let shareOfOthers = 8
  /// A tenant that has more than this part of the places has many.
  private static let largeShare = 16

  private let connectionsMax: Int
  private let undecidedMax: Int
  private let reserved: Int
  private let state: Mutex<State>

  /// - Parameter undecidedMax: of each listener.
  init(listeners: Int, connectionsMax: Int, undecidedMax: Int) {
    self.connectionsMax = connectionsMax
    self.undecidedMax = undecidedMax
    self.reserved = connectionsMax / (4 * max(listeners, 1))
    self.state = Mutex(
      State(listeners: Array(repeating: Listener(), count: listeners), largeMin: connectionsMax / Self.largeShare))
  }

  /// Takes a connection in, closing another where that is needed; nil where there is no room and nobody to make any.
  func add(_ channel: any Channel, listener: Int) -> AcceptedConnection? {
    let (connection, evicted) = state.withLock { state -> (AcceptedConnection?, [AcceptedConnection]) in
      var evicted: [AcceptedConnection] = []
      if state.listeners[listener].undecided.count >= undecidedMax,
        let oldest = state.listeners[listener].undecided.removeOldest()
      {
        evicted.append(state.forget(oldest))
      }
      if room(for: listener, state.listeners) <= 0 {
        guard let oldest = toEvict(for: listener, &state, at: channel.eventLoop.now) else { return (nil, evicted) }
        evicted.append(state.forget(oldest))
      }
      let connection = AcceptedConnection(channel: channel, listener: listener, table: self)
      let ticket = state.listeners[listener].undecided.append(connection, at: channel.eventLoop.now)
      state.listeners[listener].open += 1
      state.places[ObjectIdentifier(connection)] = .undecided(ticket)
      return (connection, evicted)
    }
    for connection in evicted { connection.channel.close(promise: nil) }
    return connection
  }

  /// It has made a call, or shown its protocol: of the strangers it is the newest again.
  fileprivate func touch(_ connection: AcceptedConnection) {
    state.withLock { state in
      guard state.removeFromQueue(connection) else { return }
      let ticket = state.listeners[connection.listener].strangers
        .append(connection, at: connection.channel.eventLoop.now)
      state.places[ObjectIdentifier(connection)] = .stranger(ticket)
    }
  }

  fileprivate func authenticate(_ connection: AcceptedConnection, as tenant: Tenant) {
    let evicted = state.withLock { state -> AcceptedConnection? in
      guard state.removeFromQueue(connection) else { return nil }
      let listener = connection.listener
      var evicted: AcceptedConnection?
      if room(for: listener, state.listeners) < connectionsMax / Self.shareOfOthers,
        let most = state.tenantWithMost(of: listener, noFewerThan: tenant)
      {
        evicted = state.listeners[listener].known.longestUnused(of: most).map { state.forget($0) }
      }
      let ticket = state.listeners[listener].known.append(connection, of: tenant)
      state.places[ObjectIdentifier(connection)] = .known(ticket, of: tenant)
      state.count(1, of: tenant)
      return evicted
    }
    evicted?.channel.close(promise: nil)
  }

  fileprivate func remove(_ connection: AcceptedConnection) {
    state.withLock { state in
      _ = state.removeFromQueue(connection)
      if state.places[ObjectIdentifier(connection)] != nil { _ = state.forget(connection) }
    }
  }

  /// How many more there may be of the listener's.
  private func room(for listener: Int, _ listeners: [Listener]) -> Int {
    let others = listeners.indices.lazy.filter { $0 != listener }.map { max(listeners[$0].open, self.reserved) }
    return connectionsMax - listeners[listener].open - others.reduce(0, +)
  }

  /// Of the listener itself, or else of the one that has most beyond what is reserved for it.
  private func toEvict(for listener: Int, _ state: inout State, at now: NIODeadline) -> AcceptedConnection? {
    let counts = state.listeners.map(\.open)
    let others = counts.indices.filter { $0 != listener && counts[$0] > reserved }.sorted { counts[$0] > counts[$1] }
    for listener in [listener] + others {
      if let oldest = oldest(of: &state.listeners[listener]) { return oldest }
    }
    for listener in [listener] + others {
      let idle = state.listeners[listener].known.idle(for: .seconds(Limits.knownIdleSecondsMin), at: now)
      if let idle { return idle }
    }
    return nil
  }

  private func oldest(of listener: inout Listener) -> AcceptedConnection? {
    let undecided = listener.undecided.oldest?.since ?? .distantFuture
    let stranger = listener.strangers.oldest?.since ?? .distantFuture
    return stranger < undecided ? listener.strangers.removeOldest() : listener.undecided.removeOldest()
  }
}

/// A connection as the table knows it.
final class AcceptedConnection: CallPeer {
  fileprivate let channel: any Channel
  fileprivate let listener: Int
  private let table: ConnectionTable
  private let known = Atomic<Bool>(false)
  private let lastUseNanoseconds = Atomic<UInt64>(0)

  fileprivate init(channel: any Channel, listener: Int, table: ConnectionTable) {
    self.channel = channel
    self.listener = listener
    self.table = table
  }

  /// One of its calls had a valid token.
  var isKnown: Bool { known.load(ordering: .relaxed) }

  func authenticated(as tenant: Tenant) {
    guard !isKnown, !known.exchange(true, ordering: .relaxed) else { return }
    setLastUse()
    table.authenticate(self, as: tenant)
  }

  /// It has shown its protocol, or made a call.
  func touch() {
    if isKnown { setLastUse() } else { table.touch(self) }
  }

  var lastUse: NIODeadline { .uptimeNanoseconds(lastUseNanoseconds.load(ordering: .relaxed)) }

  private func setLastUse() {
    lastUseNanoseconds.store(channel.eventLoop.now.uptimeNanoseconds, ordering: .relaxed)
  }

  /// Calls are under way, or responses unread: it is not idle.
  func noteUse() {
    if isKnown { setLastUse() }
  }

  func closed() {
    table.remove(self)
  }
}
