#include <nghttp2/nghttp2.h>
#include <string.h>

// Frames are a union, which Swift would copy to look into.
static inline const nghttp2_frame_hd *parley_frame_header(const nghttp2_frame *frame) {
  return &frame->hd;
}

/// The headers begin a request, and are no trailers.
static inline int parley_is_request(const nghttp2_frame *frame) {
  return frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

/// Of a DATA frame, without its padding.
static inline size_t parley_data_length(const nghttp2_frame *frame) {
  return frame->hd.length - frame->data.padlen;
}

static inline uint64_t parley_ping_data(const nghttp2_frame *frame) {
  uint64_t data;
  memcpy(&data, frame->ping.opaque_data, sizeof(data));
  return data;
}
