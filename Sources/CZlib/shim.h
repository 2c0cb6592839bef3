#include <zlib.h>

// Macros over the functions that check the header's version, which Swift cannot call.
static inline int parley_deflateInit(z_stream *stream, int windowBits) {
  return deflateInit2(stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY);
}

static inline int parley_inflateInit(z_stream *stream, int windowBits) {
  return inflateInit2(stream, windowBits);
}
