import CNghttp2

/// The functions by which nghttp2 calls an `HTTP2Session`, the same for all of them.
struct HTTP2Callbacks: @unchecked Sendable {
  static let shared = HTTP2Callbacks()

  let pointer: OpaquePointer

  private init() {
    var callbacks: OpaquePointer?
    precondition(nghttp2_session_callbacks_new(&callbacks) == 0, "nghttp2 has no memory")
    pointer = callbacks!
    nghttp2_session_callbacks_set_on_begin_headers_callback(pointer) { _, frame, user in
      HTTP2Callbacks.call(user) {
        $0.headersBegan(parley_frame_header(frame!).pointee.stream_id, isRequest: parley_is_request(frame!) != 0)
      }
      return 0
    }
    nghttp2_session_callbacks_set_on_header_callback(pointer) { _, frame, name, nameCount, value, valueCount, _, user in
      HTTP2Callbacks.call(user) {
        $0.header(
          UnsafeBufferPointer(start: name, count: nameCount), UnsafeBufferPointer(start: value, count: valueCount),
          of: parley_frame_header(frame!).pointee.stream_id)
      }
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(pointer) { _, _, stream, bytes, count, user in
      HTTP2Callbacks.call(user) { $0.dataCame(stream, UnsafeBufferPointer(start: bytes, count: count)) }
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(pointer) { _, frame, user in
      HTTP2Callbacks.call(user) { $0.frameCame(frame!) }
      return 0
    }
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(pointer) { _, _, _, user in
      HTTP2Callbacks.call(user) { $0.frameWasInvalid() }
      return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(pointer) { _, stream, _, user in
      HTTP2Callbacks.call(user) { $0.streamClosed(stream) }
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_send_callback(pointer) { _, frame, user in
      HTTP2Callbacks.call(user) { $0.frameWasSent(frame!) }
      return 0
    }
    nghttp2_session_callbacks_set_send_data_callback(pointer) { _, frame, header, count, _, user in
      HTTP2Callbacks.call(user) {
        $0.sendData(
          parley_frame_header(frame!).pointee.stream_id,
          header: UnsafeRawBufferPointer(start: header, count: HTTP2Callbacks.frameHeaderBytes), bytes: count)
      }
    }
  }

  private static let frameHeaderBytes = 9

  static let read: nghttp2_data_source_read_callback = { _, stream, _, count, flags, _, user in
    HTTP2Callbacks.call(user) { $0.read(stream, bytesMax: count, flags!) }
  }

  private static func call<R>(_ user: UnsafeMutableRawPointer?, _ body: (HTTP2Session) -> R) -> R {
    Unmanaged<HTTP2Session>.fromOpaque(user!)._withUnsafeGuaranteedRef(body)
  }

  static func makeOptions(_ limits: HTTP2Limits) -> OpaquePointer {
    var options: OpaquePointer?
    precondition(nghttp2_option_new(&options) == 0, "nghttp2 has no memory")
    // Windows are given back when the bytes were taken: the back-pressure of requests.
    nghttp2_option_set_no_auto_window_update(options, 1)
    // `RequestHeaders` and `AnnouncedContent` check requests instead.
    nghttp2_option_set_no_http_messaging(options, 1)
    // The bounds of ours are reached before these of nghttp2.
    nghttp2_option_set_max_outbound_ack(options, 2 * limits.controlFramesPerHalfMinuteMax)
    let resets = UInt64(2 * limits.resetsPerHalfMinuteMax)
    nghttp2_option_set_stream_reset_rate_limit(options, resets, resets / 30)
    return options!
  }
}
