import Core
import Messages
import NIOCore

@testable import Bench
@testable import RPC

/// A `GRPCClientSession` with the server's session on the other side and nothing between.
struct ClientStage {
  struct Request {
    var headers: [String] = []
    var bytes: [UInt8] = []
    var isEnded = false
  }

  let client: GRPCClientSession
  let server: HTTP2Session
  /// By the client, in words.
  private var events: [String] = []
  /// Of responses, without gRPC's prefix.
  var answers: [StreamID: [UInt8]] = [:]
  private(set) var requests: [StreamID: Request] = [:]
  private(set) var acknowledgedPings: [UInt64] = []
  private var output = ByteBuffer()
  /// The server gives received bytes back to the client's windows.
  var returnsWindows = true

  init(_ limits: HTTP2Limits = HTTP2Limits()) {
    client = GRPCClientSession(
      RequestFields(
        (0..<4).map {
          [(":method", "POST"), (":scheme", "http"), (":path", "/a/B"), (":authority", "test"), ("x", "\($0)")]
        }))
    server = HTTP2Session(limits)
  }

  mutating func call(_ request: Int, _ message: [UInt8]) -> StreamID? {
    client.call(request, messageBytes: message.count, to: &output) { target in
      message.withUnsafeBytes { if let start = $0.baseAddress { target.copyMemory(from: start, byteCount: $0.count) } }
    }
  }

  func answer(_ stream: StreamID, _ message: [UInt8] = []) {
    server.respond(on: stream, HTTP2Headers(.grpcResponse), isLast: false)
    server.send(GRPCMessageDecoder.encode(message, compression: nil), on: stream, isTold: false)
    server.finish(stream, HTTP2Headers(.grpcOK))
  }

  mutating func takeEvents() -> [String] {
    defer { events = [] }
    return events
  }

  /// Carries bytes both ways until none are left.
  mutating func move() {
    var isMoving = true
    while isMoving {
      client.send(to: &output)
      isMoving = output.readableBytes > 0
      var told: [HTTP2Event] = []
      output.withUnsafeReadableBytes { bytes in
        server.receive(bytes, at: .now) { event in
          take(event)
          told.append(event)
        }
      }
      output.clear()
      var answers: [UInt8] = []
      while server.fill(bytesMax: 65_536, { answers += $0.readableBytesView }) { isMoving = true }
      server.handleEvents { _ in }
      answers.withUnsafeBytes { bytes in client.receive(bytes) { note($0) } }
    }
    client.handleEvents { note($0) }
  }

  private mutating func take(_ event: HTTP2Event) {
    switch event {
    case .opened(let stream, let fields, _):
      var request = Request()
      server.forEachField(fields) {
        request.headers.append("\(String(decoding: $0, as: UTF8.self)): \(String(decoding: $1, as: UTF8.self))")
      }
      requests[stream] = request
    case .data(let stream, let bytes):
      requests[stream]?.bytes += bytes
      if returnsWindows {
        server.consume(bytes.count, of: stream)
        server.consumeOfConnection(bytes.count)
      }
    case .ended(let stream): requests[stream]?.isEnded = true
    case .acknowledged(let ping): acknowledgedPings.append(ping)
    case .taken, .closed: break
    }
  }

  private mutating func note(_ event: GRPCClientSession.Event) {
    switch event {
    case .settings(let callsMax): events.append("settings \(callsMax)")
    case .message(let stream, let bytes):
      if events.last != "message \(stream)" { events.append("message \(stream)") }
      answers[stream, default: []] += bytes
    case .succeeded(let stream):
      events.append("succeeded \(stream)")
      answers[stream]?.removeFirst(GRPCMessageDecoder.prefixBytes)
    case .failed(let stream, let error): events.append("failed \(stream) \(error.code): \(error.message)")
    case .goingAway: events.append("going away")
    case .closed(let stream, let code): events.append("closed \(stream) \(code)")
    }
  }
}
