import CNghttp2
import Core
import Messages
import NIOCore

/// The client's side of one gRPC connection of unary calls, by nghttp2: calls in, bytes out; bytes in, outcomes out. It
/// does no I/O.
///
/// nghttp2 knows it by an unretained pointer, and calls it within its own methods alone. What it is told there are
/// events, which are handled when nghttp2 has returned: a handler may do anything. The checks that nothing is accessed
/// twice at once are off: they took 5 % of the harness's time.
final class GRPCClientSession {
  enum Event {
    /// The server has told its settings, among them how many calls it takes at once.
    case settings(callsMax: Int)
    /// Of a response's message. The bytes are there until the event was handled.
    case message(Int32, UnsafeRawBufferPointer)
    case succeeded(Int32)
    indirect case failed(Int32, RPCError)
    /// The server takes no further calls.
    case goingAway
    /// The stream is gone, with HTTP/2's error; not told where its response has just ended.
    case closed(Int32, code: UInt32)
  }

  static let refusedStream = UInt32(NGHTTP2_REFUSED_STREAM.rawValue)
  /// No response is larger, so that only the connection's window has to be given back.
  private static let streamWindowBytes = 2 * Limits.frameBytesMax
  private static let connectionWindowBytes = 64 * 1024 * 1024
  private static let frameHeaderBytes = 9
  /// Memory for more is not kept.
  private static let keptMax = 4096

  private let session: OpaquePointer
  /// The last stream whose response has ended.
  @exclusivity(unchecked) private var endedStream: Int32 = 0
  @exclusivity(unchecked) private var events: [Event] = []
  @exclusivity(unchecked) private var blocks: RequestBlocks
  @exclusivity(unchecked) private var trailers = GRPCTrailers()
  /// Of the call that is being made.
  @exclusivity(unchecked) private var message = OutgoingMessage()
  /// Messages that a window has stopped.
  @exclusivity(unchecked) private var waiting: [Int32: OutgoingMessage] = [:]
  /// What nghttp2 itself cannot go on for.
  private(set) var failure: String?

  init(_ headers: RequestFields) {
    blocks = RequestBlocks(headers)
    let options = GRPCClientCallbacks.makeOptions()
    defer { nghttp2_option_del(options) }
    var session: OpaquePointer?
    let result = nghttp2_session_client_new2(&session, GRPCClientCallbacks.shared.pointer, nil, options)
    precondition(result == 0, "nghttp2 has no memory")
    self.session = session!
    nghttp2_session_set_user_data(session, Unmanaged.passUnretained(self).toOpaque())
    let settings = [
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: UInt32(Self.streamWindowBytes)),
      // Without them nghttp2 keeps no tree of streams.
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES.rawValue), value: 1),
    ]
    check(nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), settings, settings.count))
    check(nghttp2_session_set_local_window_size(session, 0, 0, Int32(Self.connectionWindowBytes)))
  }

  deinit { nghttp2_session_del(session) }

  private func check(_ result: Int32) {
    if result < 0, failure == nil { failure = String(cString: nghttp2_strerror(result)) }
  }

  // MARK: Out

  /// Another call may be made: the server is not going away, and there are streams left.
  var takesCalls: Bool { nghttp2_session_check_request_allowed(session) != 0 }

  /// Makes a call and appends what is to be sent of it.
  ///
  /// - Parameters:
  ///   - request: the number of its headers.
  ///   - write: writes the message of so many bytes.
  /// - Returns: its stream; nil where it cannot be made.
  func call(
    _ request: Int, messageBytes count: Int, to output: inout ByteBuffer, _ write: (UnsafeMutableRawPointer) -> Void
  ) -> Int32? {
    guard takesCalls else { return nil }
    message.fill(GRPCMessageDecoder.prefixBytes + count) { target in
      // Not compressed.
      target.storeBytes(of: 0, as: UInt8.self)
      target.storeBytes(of: UInt32(count).bigEndian, toByteOffset: 1, as: UInt32.self)
      write(target + GRPCMessageDecoder.prefixBytes)
    }
    var source = nghttp2_data_provider(source: nghttp2_data_source(), read_callback: GRPCClientCallbacks.read)
    let stream = nghttp2_submit_request(session, nil, nil, 0, &source, nil)
    guard stream > 0 else {
      check(stream)
      return nil
    }
    (message.stream, message.request) = (stream, request)
    send(to: &output)
    if !message.isTaken {
      waiting[stream] = message
      message = OutgoingMessage()
    }
    return stream
  }

  /// Appends what is to be sent.
  func send(to output: inout ByteBuffer) {
    while true {
      var bytes: UnsafePointer<UInt8>?
      let count = nghttp2_session_mem_send(session, &bytes)
      if count < 0 { check(Int32(count)) }
      guard count > 0, let bytes else { return }
      // It is whole frames. Those of headers begin requests, and nghttp2 has been given none.
      if bytes[3] == UInt8(NGHTTP2_HEADERS.rawValue) {
        sendHeaders(UnsafeRawPointer(bytes), to: &output)
      } else {
        output.writeBytes(UnsafeRawBufferPointer(start: bytes, count: count))
      }
    }
  }

  /// Sends a frame of headers with the request's own.
  private func sendHeaders(_ frame: UnsafeRawPointer, to output: inout ByteBuffer) {
    let stream = Int32(bigEndian: frame.loadUnaligned(fromByteOffset: 5, as: Int32.self))
    let block = blocks.next(stream == message.stream ? message.request : waiting[stream]?.request ?? 0)
    precondition(block.count <= 16_384, "a token is at most 8 KiB")
    _ = block.withUnsafeBytes { block in
      output.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.frameHeaderBytes + block.count) { target in
        target.copyMemory(from: UnsafeRawBufferPointer(start: frame, count: Self.frameHeaderBytes))
        target.storeBytes(of: UInt8(block.count >> 16), as: UInt8.self)
        target.storeBytes(of: UInt8(block.count >> 8 & 0xff), toByteOffset: 1, as: UInt8.self)
        target.storeBytes(of: UInt8(block.count & 0xff), toByteOffset: 2, as: UInt8.self)
        UnsafeMutableRawBufferPointer(rebasing: target[Self.frameHeaderBytes...]).copyMemory(from: block)
        return Self.frameHeaderBytes + block.count
      }
    }
  }

  // MARK: In

  /// Takes the server's bytes and hands on what they mean.
  func receive(_ bytes: UnsafeRawBufferPointer, _ handle: (Event) -> Void) {
    let result = bytes.withMemoryRebound(to: UInt8.self) {
      nghttp2_session_mem_recv(session, $0.baseAddress, $0.count)
    }
    handleEvents(handle)
    if result < 0 { check(Int32(result)) }
  }

  /// There will be no more: HTTP/2 cannot go on, which was told the server, or all calls of a server that goes away
  /// were answered.
  var isFinished: Bool { failure != nil || nghttp2_session_want_read(session) == 0 }

  /// Hands on what has happened since.
  func handleEvents(_ handle: (Event) -> Void) {
    var place = 0
    while place < events.count {
      handle(events[place])
      place += 1
    }
    events.removeAll(keepingCapacity: events.capacity <= Self.keptMax)
  }
}

// MARK: What nghttp2 calls

extension GRPCClientSession {
  func header(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) { trailers.add(name, value) }

  func dataCame(_ stream: Int32, _ bytes: UnsafeRawBufferPointer) { events.append(.message(stream, bytes)) }

  func frameCame(_ header: nghttp2_frame_hd) {
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue, NGHTTP2_DATA.rawValue:
      if header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 { ended(header.stream_id) }
      trailers = GRPCTrailers()
    case NGHTTP2_SETTINGS.rawValue where header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0:
      let callsMax = nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
      blocks.setTableBytesMax(
        Int(nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_HEADER_TABLE_SIZE)))
      events.append(.settings(callsMax: Int(callsMax)))
    case NGHTTP2_GOAWAY.rawValue: events.append(.goingAway)
    default: break
    }
  }

  private func ended(_ stream: Int32) {
    endedStream = stream
    events.append(trailers.isOK ? .succeeded(stream) : .failed(stream, trailers.error))
  }

  func streamClosed(_ stream: Int32, _ code: UInt32) {
    if !waiting.isEmpty { waiting[stream] = nil }
    if stream != endedStream { events.append(.closed(stream, code: code)) }
  }

  /// Copies what is to be sent of a call's message; nghttp2's result.
  func read(
    _ stream: Int32, into target: UnsafeMutableRawBufferPointer, _ flags: UnsafeMutablePointer<UInt32>
  ) -> Int {
    let (count, isLast) =
      stream == message.stream
      ? message.take(into: target) : waiting[stream, default: OutgoingMessage()].take(into: target)
    if isLast { flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue }
    return count
  }
}

/// A call's message, in a memory that is used again and again.
private struct OutgoingMessage {
  var stream: Int32 = 0
  /// The number of its headers.
  var request = 0
  private var bytes: [UInt8] = []
  private var taken = 0
  private var count = 0

  var isTaken: Bool { taken == count }

  mutating func fill(_ count: Int, _ write: (UnsafeMutableRawPointer) -> Void) {
    (stream, taken, self.count) = (0, 0, count)
    if bytes.count < count { bytes = [UInt8](repeating: 0, count: max(count, 2048)) }
    bytes.withUnsafeMutableBytes { write($0.baseAddress!) }
  }

  /// As much as there is room for, and whether that was the last of it.
  mutating func take(into target: UnsafeMutableRawBufferPointer) -> (count: Int, isLast: Bool) {
    let size = min(count - taken, target.count)
    bytes.withUnsafeBytes { bytes in
      guard size > 0, let start = bytes.baseAddress else { return }
      target.copyMemory(from: UnsafeRawBufferPointer(start: start + taken, count: size))
    }
    taken += size
    return (size, isTaken)
  }
}
