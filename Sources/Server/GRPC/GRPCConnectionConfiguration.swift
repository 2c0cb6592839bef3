import Domain
import NIOHTTP2

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

  func http2Handler() -> NIOHTTP2Handler {
    var connection = NIOHTTP2Handler.ConnectionConfiguration()
    connection.initialSettings = [
      HTTP2Setting(parameter: .maxConcurrentStreams, value: Limits.callsInFlightPerConnectionMax),
      HTTP2Setting(parameter: .maxHeaderListSize, value: Limits.headerListBytesMax),
      HTTP2Setting(parameter: .initialWindowSize, value: GRPCHandler.streamWindowBytes),
    ]
    // gRPC clients measure their bandwidth with up to ten pings a second, and reset a stream for every
    // deadline that passes; swift-nio-http2's defaults of 200 each would end such connections.
    connection.controlFrameRateLimit.maximumCount = Limits.controlFramesPerHalfMinuteMax
    // Frames may still be on their way for every stream that was reset because its call was refused.
    connection.maximumRecentlyResetStreams = Limits.callsInFlightPerConnectionMax
    var stream = NIOHTTP2Handler.StreamConfiguration()
    stream.streamResetFrameRateLimit.maximumCount = Limits.streamResetsPerHalfMinuteMax
    return NIOHTTP2Handler(
      mode: .server, frameDelegate: nil, connectionConfiguration: connection, streamConfiguration: stream)
  }
}
