import CNghttp2
import NIOCore

/// The server's side of one HTTP/2 connection, by nghttp2: bytes in, events out; responses in, bytes out. It does no
/// I/O, has no clock and starts nothing.
///
/// nghttp2 knows it by an unretained pointer, and calls it within `receive` and `fill` alone. What it is told there are
/// events, which are handled when nghttp2 has returned: a handler may do anything, even close the session.
final class HTTP2Session {
  /// The peer's bytes are taken in pieces, and their events handled after each, so that what a piece's headers come to
  /// when they are decompressed stays small.
  private static let pieceBytes = 8 * 1024

  /// Memory for more is not kept: most of the time a connection has little to do.
  private static let keptMax = 256

  let limits: HTTP2Limits
  /// nil once it is closed.
  private var session: OpaquePointer?
  private var events: [HTTP2Event] = []
  private var fields = HTTP2FieldStore()
  /// Of the block of headers that has not ended, or the last one.
  private var requestHeaders = RequestHeaders()
  private var announcedContent = AnnouncedContent()
  /// Of streams that are open.
  private var bodies: [StreamID: OutgoingBody] = [:]
  /// To be sent: while `fill` runs.
  private var output = ByteBuffer()
  private var outputBytesMax = 0
  private var controlFrames = 0
  private var resets = 0
  private var controlFlood: FrameFlood
  private var resetFlood: FrameFlood
  /// Of responses, not yet taken by the peer's windows and the socket.
  private(set) var queuedBytes = 0
  /// Of responses, all that was taken.
  private(set) var takenBytes = 0
  /// Why HTTP/2 cannot go on; nil where it can.
  private(set) var failure: String?

  init(_ limits: HTTP2Limits = HTTP2Limits()) {
    self.limits = limits
    controlFlood = FrameFlood(countMax: limits.controlFramesPerHalfMinuteMax)
    resetFlood = FrameFlood(countMax: limits.resetsPerHalfMinuteMax)
    let options = HTTP2Callbacks.makeOptions(limits)
    defer { nghttp2_option_del(options) }
    let user = Unmanaged.passUnretained(self).toOpaque()
    let result = nghttp2_session_server_new2(&session, HTTP2Callbacks.shared.pointer, user, options)
    precondition(result == 0, "nghttp2 has no memory")
    begin()
  }

  deinit { close() }

  /// Ends it at once; nothing is done with it afterwards.
  func close() {
    nghttp2_session_del(session)
    session = nil
    bodies = [:]
    queuedBytes = 0
  }

  private func begin() {
    let settings = [
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue), value: UInt32(limits.streamsMax)),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue), value: UInt32(limits.headerListBytesMax)),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: UInt32(limits.streamWindowBytes)),
    ]
    check(nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), settings, settings.count))
    check(nghttp2_session_set_local_window_size(session, 0, 0, Int32(limits.connectionWindowBytes)))
  }

  /// What nghttp2 says of what it was asked: only a lack of memory ends the connection.
  private func check(_ result: Int32) {
    if result < 0, nghttp2_is_fatal(result) != 0 { fail(Int(result)) }
  }

  private func fail(_ result: Int) {
    if failure == nil { failure = String(cString: nghttp2_strerror(Int32(result))) }
  }

  // MARK: In

  /// Takes the peer's bytes and hands on what they mean. The handler may do anything but call `receive` and `fill`.
  func receive(_ bytes: UnsafeRawBufferPointer, at now: ContinuousClock.Instant, _ handle: (HTTP2Event) -> Void) {
    var place = 0
    while place < bytes.count, let session, failure == nil {
      let piece = UnsafeRawBufferPointer(rebasing: bytes[place..<min(place + Self.pieceBytes, bytes.count)])
      let result = piece.withMemoryRebound(to: UInt8.self) {
        nghttp2_session_mem_recv(session, $0.baseAddress, $0.count)
      }
      place += piece.count
      handleEvents(handle)
      if result < 0 { fail(result) }
      lookForFloods(at: now)
    }
  }

  /// Hands on what has happened since.
  func handleEvents(_ handle: (HTTP2Event) -> Void) {
    var place = 0
    while place < events.count {
      handle(events[place])
      place += 1
    }
    events.removeAll(keepingCapacity: events.capacity <= Self.keptMax)
    fields.removeEnded()
  }

  private func lookForFloods(at now: ContinuousClock.Instant) {
    let isFlood = controlFlood.add(controlFrames, at: now)
    let isResetFlood = resetFlood.add(resets, at: now)
    (controlFrames, resets) = (0, 0)
    guard isFlood || isResetFlood, let session else { return }
    check(nghttp2_session_terminate_session(session, HTTP2Code.enhanceYourCalm.rawValue))
  }

  /// Calls `body` with each name and value of a request's headers, in their order.
  func forEachField(_ range: HTTP2FieldRange, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void) {
    fields.forEach(range, body)
  }

  /// Gives a stream's window, or the connection's, back to the peer for so many bytes.
  func consume(_ bytes: Int, of stream: StreamID) {
    if let session { check(nghttp2_session_consume_stream(session, stream, bytes)) }
  }

  func consumeOfConnection(_ bytes: Int) {
    if let session { check(nghttp2_session_consume_connection(session, bytes)) }
  }

  // MARK: Responses

  /// Begins a response; with `isLast` it has no body and no trailers.
  func respond(on stream: StreamID, _ headers: HTTP2Headers, isLast: Bool) {
    guard let session, bodies[stream] != nil else { return }
    var source = nghttp2_data_provider(source: nghttp2_data_source(), read_callback: HTTP2Callbacks.read)
    headers.withFields { fields, count in
      if isLast {
        check(nghttp2_submit_response(session, stream, fields, count, nil))
      } else {
        check(nghttp2_submit_response(session, stream, fields, count, &source))
      }
    }
  }

  /// A piece of its body. With `isTold` an event tells when the peer has taken it.
  func send(_ bytes: [UInt8], on stream: StreamID, isTold: Bool) {
    guard let place = bodies.index(forKey: stream) else { return }
    bodies.values[place].append(bytes, isTold: isTold)
    queuedBytes += bytes.count
    resume(stream, place)
  }

  /// Ends the response behind its body.
  func finish(_ stream: StreamID, _ trailers: HTTP2Headers) {
    guard let place = bodies.index(forKey: stream) else { return }
    bodies.values[place].finish(trailers)
    resume(stream, place)
  }

  private func resume(_ stream: StreamID, _ place: Dictionary<StreamID, OutgoingBody>.Index) {
    guard bodies.values[place].resume(), let session else { return }
    check(nghttp2_session_resume_data(session, stream))
  }

  func reset(_ stream: StreamID, _ code: HTTP2Code) {
    if let session { check(nghttp2_submit_rst_stream(session, 0, stream, code.rawValue)) }
  }

  /// How many streams wait for the peer to take what there is for them.
  var waitingStreams: Int { bodies.values.count { $0.queuedBytes > 0 } }

  // MARK: The connection

  func ping(_ data: UInt64) {
    guard let session else { return }
    withUnsafeBytes(of: data) { bytes in
      bytes.withMemoryRebound(to: UInt8.self) { check(nghttp2_submit_ping(session, 0, $0.baseAddress)) }
    }
  }

  /// Tells that the connection will end, and refuses no stream yet.
  func announceEnd() {
    if let session { check(nghttp2_submit_shutdown_notice(session)) }
  }

  /// Tells the last stream that was taken; those beyond it were not.
  func end(last: StreamID) {
    if let session { check(nghttp2_submit_goaway(session, 0, last, HTTP2Code.noError.rawValue, nil, 0)) }
  }

  // MARK: Out

  /// There is something to be sent.
  var wantsWrite: Bool { session.map { nghttp2_session_want_write($0) != 0 } ?? false }

  /// There will be no more, in either direction.
  var isFinished: Bool {
    guard let session, failure == nil else { return true }
    return nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0
  }

  /// Calls `body` with bytes to be sent: about as many as asked for, unless there are fewer. What was taken of
  /// responses is told by events.
  ///
  /// - Returns: whether there were any.
  func fill(bytesMax: Int, _ body: (ByteBuffer) -> Void) -> Bool {
    // Room for headers as well.
    output = ByteBufferAllocator().buffer(capacity: min(queuedBytes, bytesMax) + 1024)
    outputBytesMax = bytesMax
    defer { output = ByteBuffer() }
    while output.readableBytes < bytesMax, let session {
      var data: UnsafePointer<UInt8>?
      let count = nghttp2_session_mem_send(session, &data)
      if count < 0 { fail(count) }
      guard count > 0 else { break }
      output.writeBytes(UnsafeRawBufferPointer(start: data, count: count))
    }
    guard output.readableBytes > 0 else { return false }
    body(output)
    return true
  }
}

// MARK: What nghttp2 calls

extension HTTP2Session {
  func headersBegan(_ stream: StreamID, isRequest: Bool) {
    fields.beginBlock()
    requestHeaders = RequestHeaders(areTrailers: !isRequest)
    if isRequest { bodies[stream] = OutgoingBody() }
  }

  /// - Returns: nghttp2's result: the stream fails by itself where its headers are too many or malformed.
  func header(_ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>, of stream: StreamID) -> Int32 {
    fields.count(name: name.count, value: value.count)
    let isWithinLimit = fields.blockBytes <= limits.headerListBytesMax
    guard isWithinLimit, requestHeaders.add(UnsafeRawBufferPointer(name), UnsafeRawBufferPointer(value)) else {
      fields.dropBlock()
      refuse(stream, isWithinLimit ? .protocolError : .enhanceYourCalm)
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
    }
    fields.add(name, value)
    return 0
  }

  private func headersEnded(_ stream: StreamID, isRequest: Bool, isLast: Bool) {
    let range = fields.endBlock()
    guard requestHeaders.areComplete(isLast: isLast) else { return refuse(stream, .protocolError) }
    guard isRequest else { return ended(stream) }
    if let bytes = requestHeaders.contentLength, !isLast { announcedContent.announce(bytes, on: stream) }
    events.append(.opened(stream, range, isLast: isLast))
  }

  func dataCame(_ stream: StreamID, _ bytes: UnsafeBufferPointer<UInt8>) {
    guard announcedContent.take(bytes.count, on: stream) else {
      // Nobody else gives it back.
      consumeOfConnection(bytes.count)
      return refuse(stream, .protocolError)
    }
    events.append(.data(stream, UnsafeRawBufferPointer(bytes)))
  }

  private func ended(_ stream: StreamID) {
    guard announcedContent.isWhole(on: stream) else { return refuse(stream, .protocolError) }
    events.append(.ended(stream))
  }

  /// The request is none, and its stream fails by itself.
  private func refuse(_ stream: StreamID, _ code: HTTP2Code) {
    resets += 1
    reset(stream, code)
  }

  func frameCame(_ frame: UnsafePointer<nghttp2_frame>) {
    let header = parley_frame_header(frame).pointee
    let isLast = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch UInt32(header.type) {
    case NGHTTP2_DATA.rawValue:
      if isLast {
        ended(header.stream_id)
      } else if parley_data_length(frame) == 0 {
        controlFrames += 1
      }
    case NGHTTP2_HEADERS.rawValue:
      headersEnded(header.stream_id, isRequest: parley_is_request(frame) != 0, isLast: isLast)
    case NGHTTP2_PING.rawValue:
      if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 {
        events.append(.acknowledged(parley_ping_data(frame)))
      } else {
        controlFrames += 1
      }
    case NGHTTP2_RST_STREAM.rawValue: resets += 1
    case NGHTTP2_WINDOW_UPDATE.rawValue: break
    default: controlFrames += 1
    }
  }

  /// nghttp2 resets the stream, or ends the connection.
  func frameWasInvalid() {
    resets += 1
    fields.dropBlock()
  }

  func streamClosed(_ stream: StreamID) {
    if let body = bodies.removeValue(forKey: stream) { queuedBytes -= body.queuedBytes }
    announcedContent.forget(stream)
    if bodies.isEmpty, bodies.capacity > Self.keptMax { bodies = [:] }
    events.append(.closed(stream))
  }

  /// How many bytes of a stream are in its next frame, whose data `sendData` writes; nghttp2's result.
  func read(_ stream: StreamID, bytesMax: Int, _ flags: UnsafeMutablePointer<UInt32>) -> Int {
    guard let place = bodies.index(forKey: stream) else { return Int(NGHTTP2_ERR_DEFERRED.rawValue) }
    flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
    switch bodies.values[place].next(bytesMax: bytesMax) {
    case .nothing: return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    case .bytes(let count): return count
    case .last(let count, let trailers):
      flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
      trailers.withFields { check(nghttp2_submit_trailer(session, stream, $0, $1)) }
      return count
    }
  }

  /// Writes a DATA frame, which has no padding, to what is sent: its bytes are copied there and nowhere else. nghttp2's
  /// result: it is asked for again where this is as much as `fill` was asked for.
  func sendData(_ stream: StreamID, header: UnsafeRawBufferPointer, bytes: Int) -> Int32 {
    guard output.readableBytes < outputBytesMax else { return NGHTTP2_ERR_WOULDBLOCK.rawValue }
    guard let place = bodies.index(forKey: stream) else { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
    output.writeBytes(header)
    let told = bodies.values[place].write(bytes, to: &output)
    queuedBytes -= bytes
    takenBytes += bytes
    for _ in 0..<told { events.append(.taken(stream)) }
    return 0
  }

  /// Tells a peer that still sends, though its response has ended, that nobody listens (RFC 9113, section 8.1).
  func frameWasSent(_ frame: UnsafePointer<nghttp2_frame>) {
    let header = parley_frame_header(frame).pointee
    guard UInt32(header.type) == NGHTTP2_HEADERS.rawValue, let session,
      header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0,
      nghttp2_session_get_stream_remote_close(session, header.stream_id) == 0
    else { return }
    reset(header.stream_id, .noError)
  }
}
