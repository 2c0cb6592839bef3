import Domain
import NIOCore
import NIOHTTP2

/// How gRPC connections are kept and ended. Times are in seconds.
public struct GRPCConnectionConfiguration: Sendable {
  /// A connection without calls is closed after this; nil: never.
  public var idleSecondsMax: Int64?
  /// A connection is closed after this, gently; nil: never.
  public var ageSecondsMax: Int64?
  /// A silent peer is asked for a sign of life after this.
  public var keepaliveSeconds: Int64 = 60
  /// It must give it within this.
  public var keepaliveTimeoutSeconds: Int64 = 20

  public init() {}

  /// A peer that has said nothing for so long is gone: swift-nio-http2 asks it to go and would wait for its
  /// answer to that for ever.
  var silenceMax: Duration { .seconds(keepaliveSeconds + keepaliveTimeoutSeconds) }

  /// A connection so old was asked to end, and has had the time to.
  var ageMax: Duration? { ageSecondsMax.map { .seconds($0 + 2 * Limits.drainSecondsMax) } }

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

  func addManagementHandler(to pipeline: ChannelPipeline.SynchronousOperations, on loop: any EventLoop) throws {
    let handler = NIOHTTP2ServerConnectionManagementHandler(
      eventLoop: loop,
      configuration: .init(
        maxIdleTime: idleSecondsMax.map { .seconds($0) }, maxAge: ageSecondsMax.map { .seconds($0) },
        maxGraceTime: .seconds(Limits.drainSecondsMax),
        keepalive: .init(
          pingInterval: .seconds(keepaliveSeconds), ackTimeout: .seconds(keepaliveTimeoutSeconds))))
    try pipeline.addHandler(handler)
    // Its clocks start with the channel, which has been active since before the protocol was known.
    handler.channelActive(context: try pipeline.context(handler: handler))
  }
}
