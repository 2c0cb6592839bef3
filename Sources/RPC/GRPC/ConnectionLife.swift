import Core

/// Decides when a gRPC connection is sent a keepalive ping, is asked to end, and is closed. It is pure: its owner calls `look`
/// from time to time and does what it returns.
///
/// A connection ends in three steps (RFC 9113, section 6.8). First the server sends a GOAWAY that refuses no stream yet, and a
/// PING behind it. When the peer has acknowledged the PING, or is late, the server refuses further streams. When the last
/// stream has its response, the server sends a GOAWAY with the last stream that it took.
struct ConnectionLife {
  enum Action: Hashable {
    /// Send a keepalive ping with this.
    case ping(UInt64)
    /// Send a GOAWAY that refuses no stream, and a PING with this.
    case announceEnd(UInt64)
    /// Refuse further streams; send a GOAWAY with the last one taken when all are answered.
    case end
    /// Close now.
    case close(reason: String)
  }

  private enum State {
    case open
    case announced(since: ContinuousClock.Instant)
    case ending(since: ContinuousClock.Instant)
  }

  private let configuration: GRPCConnectionConfiguration
  private let opened: ContinuousClock.Instant
  private let keepalivePing = UInt64.random(in: .min ... .max)
  private var endPing: UInt64 { ~keepalivePing }
  private var state = State.open
  private var readWatch = StallWatch()
  private var idleWatch = StallWatch()
  private var readsAtPing: Int?

  init(_ configuration: GRPCConnectionConfiguration, at now: ContinuousClock.Instant) {
    self.configuration = configuration
    self.opened = now
  }

  /// Takes no further streams, and closes when its last one is answered.
  var isEnding: Bool {
    if case .ending = state { true } else { false }
  }

  /// - Parameters:
  ///   - reads: how often something was read.
  ///   - streams: how many there are.
  ///   - streamsEver: how many there ever were.
  mutating func look(
    reads: Int, streams: Int, streamsEver: Int, at now: ContinuousClock.Instant
  ) -> Action? {
    let unread = readWatch.stalled(isWaiting: true, moved: reads, at: now)
    let idle = idleWatch.stalled(isWaiting: streams == 0, moved: streamsEver, at: now)
    if unread >= .seconds(configuration.keepaliveSeconds + configuration.keepaliveTimeoutSeconds) {
      return .close(reason: "the peer did not acknowledge the keepalive ping")
    }
    switch state {
    case .announced(let since):
      if now - since >= .seconds(Limits.goAwaySecondsMax) {
        state = .ending(since: since)
        return .end
      }
    case .ending(let since):
      if now - since >= .seconds(Limits.callSecondsMax) + .seconds(Limits.goAwaySecondsMax) {
        return .close(reason: "its end took too long")
      }
    case .open:
      if let most = configuration.ageSecondsMax, now - opened >= .seconds(most) { return announce(at: now) }
      if let most = configuration.idleSecondsMax, idle >= .seconds(most) { return announce(at: now) }
    }
    guard unread >= .seconds(configuration.keepaliveSeconds), readsAtPing != reads else { return nil }
    readsAtPing = reads
    return .ping(keepalivePing)
  }

  /// The server drains.
  mutating func drain(at now: ContinuousClock.Instant) -> Action? {
    guard case .open = state else { return nil }
    return announce(at: now)
  }

  /// The peer has acknowledged a PING.
  mutating func acknowledged(_ ping: UInt64) -> Action? {
    guard case .announced(let since) = state, ping == endPing else { return nil }
    state = .ending(since: since)
    return .end
  }

  private mutating func announce(at now: ContinuousClock.Instant) -> Action {
    state = .announced(since: now)
    return .announceEnd(endPing)
  }
}
