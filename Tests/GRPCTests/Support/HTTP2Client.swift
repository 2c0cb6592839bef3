import Core
import Foundation
import Messages
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import Testing

/// A gRPC client that does what it is told on one connection, for one task.
final class HTTP2Client {
  /// What came on a stream.
  struct Answer {
    var blocks: [HPACKHeaders] = []
    var data: [UInt8] = []
    var isEnded = false
    var reset: HTTP2ErrorCode?

    func header(_ name: String) -> String? { blocks.lazy.compactMap { $0.first(name: name) }.first }
    var code: Int? { header("grpc-status").flatMap { Int($0) } }
    var message: String? { header("grpc-message")?.removingPercentEncoding }

    /// From `grpc-status-details-bin`.
    func error() throws -> RPCError {
      let text = try #require(header("grpc-status-details-bin"))
      #expect(!text.contains("="))
      let padding = String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
      let status = Array(try #require(Data(base64Encoded: text + padding)))
      // As field 1 of a ttRPC response, which is how Wire reads it.
      var length: [UInt8] = []
      var count = status.count
      while count >= 0x80 {
        length.append(UInt8(count & 0x7f | 0x80))
        count >>= 7
      }
      guard case .failure(let error) = try Envelope.reply([0x0a] + length + [UInt8(count)] + status) else {
        throw GRPCTestFailure("the status says OK")
      }
      return error
    }

    /// The messages so far.
    func messages() throws -> [[UInt8]] {
      var decoder = GRPCMessageDecoder(compression: nil, bytesMax: Limits.frameBytesMax)
      decoder.append(data)
      var messages: [[UInt8]] = []
      while let message = try decoder.next() { messages.append(message.bytes) }
      return messages
    }
  }

  private let channel: any Channel
  private var frames: AsyncStream<HTTP2Frame>.Iterator
  private var answers: [HTTP2StreamID: Answer] = [:]
  private var lastStream: Int32 = -1
  /// The last stream that each GOAWAY names.
  private(set) var goAways: [HTTP2StreamID] = []
  private(set) var isClosed = false

  /// - Parameters:
  ///   - answersPings: false for a peer that does not say whether it is there.
  ///   - windowBytes: what it takes unasked on a stream.
  init(to address: Address, answersPings: Bool = true, windowBytes: Int = 65_535) async throws {
    let (frames, continuation) = AsyncStream.makeStream(of: HTTP2Frame.self)
    self.frames = frames.makeAsyncIterator()
    let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        if !answersPings { try channel.pipeline.syncOperations.addHandler(PingResponseEater()) }
        let settings = [HTTP2Setting(parameter: .initialWindowSize, value: windowBytes)]
        try channel.pipeline.syncOperations.addHandlers([
          NIOHTTP2Handler(mode: .client, initialSettings: settings), Collector(continuation),
        ])
      }
    }
    channel =
      switch address {
      case .unix(let path): try await bootstrap.connect(unixDomainSocketPath: path).get()
      case .tcp(let host, let port): try await bootstrap.connect(host: host, port: port).get()
      }
  }

  deinit {
    channel.close(promise: nil)
  }

  private final class Collector: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame

    private let continuation: AsyncStream<HTTP2Frame>.Continuation

    init(_ continuation: AsyncStream<HTTP2Frame>.Continuation) {
      self.continuation = continuation
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      continuation.yield(unwrapInboundIn(data))
    }

    func channelInactive(context: ChannelHandlerContext) {
      continuation.finish()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
  }

  /// Sends no write that is an acknowledgement of a PING; each is a write of its own.
  private final class PingResponseEater: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
      let bytes = unwrapOutboundIn(data).readableBytesView
      if bytes.count == 17, bytes.dropFirst(3).starts(with: [6, 1]) { return }
      context.write(data, promise: promise)
    }
  }

  // MARK: Out

  private func send(_ stream: HTTP2StreamID, _ payload: HTTP2Frame.FramePayload) async throws {
    try await channel.writeAndFlush(HTTP2Frame(streamID: stream, payload: payload))
  }

  /// Begins a call.
  func open(_ path: String, _ metadata: [(String, String)] = []) async throws -> HTTP2StreamID {
    lastStream += 2
    let stream = HTTP2StreamID(Int(lastStream))
    let headers = HPACKHeaders(
      [
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test"), ("te", "trailers"),
        ("content-type", "application/grpc"),
      ] + metadata)
    try await send(stream, .headers(.init(headers: headers)))
    return stream
  }

  func send(_ bytes: [UInt8], on stream: HTTP2StreamID, end: Bool = false) async throws {
    try await send(stream, .data(.init(data: .byteBuffer(ByteBuffer(bytes: bytes)), endStream: end)))
  }

  /// Takes so many bytes more on a stream.
  func widenWindow(of stream: HTTP2StreamID, by bytes: Int) async throws {
    try await send(stream, .windowUpdate(windowSizeIncrement: bytes))
  }

  func reset(_ stream: HTTP2StreamID) async throws {
    try await send(stream, .rstStream(.cancel))
  }

  /// A call with one message, not waited for.
  func start(_ path: String, _ payload: [UInt8] = [], _ metadata: [(String, String)] = []) async throws
    -> HTTP2StreamID
  {
    let stream = try await open(path, metadata)
    // The server may have refused the call at its headers.
    try? await send(GRPCMessageDecoder.encode(payload, compression: nil), on: stream, end: true)
    return stream
  }

  func call(_ path: String, _ payload: [UInt8] = [], _ metadata: [(String, String)] = []) async throws -> Answer {
    try await answer(to: start(path, payload, metadata))
  }

  // MARK: In

  /// Reads until the condition holds; throws when the connection closes before.
  func read(until condition: (HTTP2Client) throws -> Bool) async throws {
    while try !condition(self) {
      guard let frame = await frames.next(isolation: #isolation) else {
        isClosed = true
        throw GRPCTestFailure("the connection is closed")
      }
      take(frame)
    }
  }

  func answerSoFar(to stream: HTTP2StreamID) -> Answer { answers[stream, default: Answer()] }

  func answer(to stream: HTTP2StreamID) async throws -> Answer {
    try await read { $0.answerSoFar(to: stream).isEnded || $0.answerSoFar(to: stream).reset != nil }
    return answerSoFar(to: stream)
  }

  /// Reads until the server closes.
  func readUntilClosed() async {
    try? await read { _ in false }
  }

  private func take(_ frame: HTTP2Frame) {
    switch frame.payload {
    case .headers(let headers):
      answers[frame.streamID, default: Answer()].blocks.append(headers.headers)
      if headers.endStream { answers[frame.streamID]?.isEnded = true }
    case .data(let data):
      if case .byteBuffer(let buffer) = data.data {
        answers[frame.streamID, default: Answer()].data += Array(buffer.readableBytesView)
      }
      if data.endStream { answers[frame.streamID]?.isEnded = true }
    case .rstStream(let code): answers[frame.streamID, default: Answer()].reset = code
    case .goAway(let last, _, _): goAways.append(last)
    default: break
    }
  }
}

struct GRPCTestFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
