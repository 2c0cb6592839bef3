import NIOCore
import Testing

@testable import RPC

/// An `HTTP2Session` with a `RawHTTP2Peer` on the other side and nothing between: bytes move and time passes when the
/// test says so.
struct SessionStage {
  let session: HTTP2Session
  var client: RawHTTP2Peer
  var now = ContinuousClock.now
  /// What the session has told, in words, and what came with it.
  private(set) var events: [String] = []
  private(set) var data: [StreamID: [UInt8]] = [:]
  private(set) var headers: [StreamID: [String]] = [:]
  /// Received bytes are given back to the peer's windows.
  var returnsWindows = true

  init(_ limits: HTTP2Limits = HTTP2Limits(), client: RawHTTP2Peer = RawHTTP2Peer()) {
    session = HTTP2Session(limits)
    self.client = client
    move()
  }

  /// Carries bytes both ways until none are left.
  mutating func move() {
    repeat {
      receive(client.takeOutgoing())
      send()
    } while !client.outgoing.isEmpty
  }

  mutating func receive(_ bytes: [UInt8]) {
    var told: [(HTTP2Event, [UInt8], [String])] = []
    bytes.withUnsafeBytes { bytes in
      session.receive(bytes, at: now) { [session] event in
        switch event {
        case .data(_, let bytes): told.append((event, Array(bytes), []))
        case .opened(_, let fields, _):
          var headers: [String] = []
          session.forEachField(fields) {
            headers.append("\(String(decoding: $0, as: UTF8.self)): \(String(decoding: $1, as: UTF8.self))")
          }
          told.append((event, [], headers))
        default: told.append((event, [], []))
        }
      }
    }
    for (event, bytes, headers) in told { note(event, bytes, headers) }
  }

  mutating func send() {
    var output: [UInt8] = []
    while session.fill(bytesMax: 65_536, { output += $0.readableBytesView }) {}
    var told: [HTTP2Event] = []
    session.handleEvents { told.append($0) }
    for event in told { note(event, [], []) }
    if !output.isEmpty { #expect(throws: Never.self) { try client.receive(ByteBuffer(bytes: output)) } }
  }

  private mutating func note(_ event: HTTP2Event, _ bytes: [UInt8], _ fields: [String]) {
    switch event {
    case .opened(let stream, _, let isLast):
      headers[stream] = fields
      events.append("opened \(stream)\(isLast ? " last" : "")")
    case .data(let stream, _):
      data[stream, default: []] += bytes
      if events.last != "data \(stream)" { events.append("data \(stream)") }
      if returnsWindows {
        session.consume(bytes.count, of: stream)
        session.consumeOfConnection(bytes.count)
      }
    case .ended(let stream): events.append("ended \(stream)")
    case .taken(let stream): events.append("taken \(stream)")
    case .closed(let stream): events.append("closed \(stream)")
    case .acknowledged(let ping): events.append("acknowledged \(ping)")
    }
  }

  mutating func takeEvents() -> [String] {
    defer { events = [] }
    return events
  }
}
