import Core

/// How gRPC connections are kept and ended. Times are in seconds.
public struct GRPCConnectionConfiguration: Sendable {
  /// A connection without calls is closed after this; nil: never.
  public var idleSecondsMax: Int64?
  /// A connection is closed after this, gently; nil: never.
  public var ageSecondsMax: Int64?
  /// If nothing was read from a peer for this long, the server sends it a PING (keepalive).
  public var keepaliveSeconds: Int64 = 60
  /// If the peer does not acknowledge the PING within this time, its connection is closed.
  public var keepaliveTimeoutSeconds: Int64 = 20

  public init() {}

  /// How often a connection must be looked at to keep these times.
  var lookInterval: Duration {
    .seconds([keepaliveSeconds, ageSecondsMax, idleSecondsMax].compactMap(\.self).min()!) / 4
  }
}
