import CNghttp2

/// The functions by which nghttp2 calls a `GRPCClientSession`, the same for all of them.
struct GRPCClientCallbacks: @unchecked Sendable {
  static let shared = GRPCClientCallbacks()

  let pointer: OpaquePointer

  private init() {
    var callbacks: OpaquePointer?
    precondition(nghttp2_session_callbacks_new(&callbacks) == 0, "nghttp2 has no memory")
    pointer = callbacks!
    nghttp2_session_callbacks_set_on_header_callback(pointer) { _, _, name, nameCount, value, valueCount, _, user in
      GRPCClientCallbacks.call(user) {
        $0.header(
          UnsafeRawBufferPointer(start: name, count: nameCount), UnsafeRawBufferPointer(start: value, count: valueCount)
        )
      }
      return 0
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(pointer) { _, _, stream, bytes, count, user in
      GRPCClientCallbacks.call(user) { $0.dataCame(stream, UnsafeRawBufferPointer(start: bytes, count: count)) }
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(pointer) { _, frame, user in
      GRPCClientCallbacks.call(user) { $0.frameCame(parley_frame_header(frame!).pointee) }
      return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(pointer) { _, stream, code, user in
      GRPCClientCallbacks.call(user) { $0.streamClosed(stream, code) }
      return 0
    }
  }

  static let read: nghttp2_data_source_read_callback = { _, stream, target, count, flags, _, user in
    GRPCClientCallbacks.call(user) {
      $0.read(stream, into: UnsafeMutableRawBufferPointer(start: target, count: count), flags!)
    }
  }

  private static func call<R>(_ user: UnsafeMutableRawPointer?, _ body: (GRPCClientSession) -> R) -> R {
    Unmanaged<GRPCClientSession>.fromOpaque(user!)._withUnsafeGuaranteedRef(body)
  }

  static func makeOptions() -> OpaquePointer {
    var options: OpaquePointer?
    precondition(nghttp2_option_new(&options) == 0, "nghttp2 has no memory")
    // Of a response its trailers are all that is looked at.
    nghttp2_option_set_no_http_messaging(options, 1)
    return options!
  }
}
