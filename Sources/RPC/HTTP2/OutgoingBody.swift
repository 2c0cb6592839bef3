import NIOCore

/// What a stream has to send behind its response's first headers: pieces of its body, and its trailers. Pure.
struct OutgoingBody {
  private struct Piece {
    var bytes: [UInt8]
    var isTold: Bool
  }

  private var pieces: [Piece] = []
  /// Of the first piece: what was taken.
  private var taken = 0
  /// How many pieces are taken whole.
  private var first = 0
  private(set) var queuedBytes = 0
  /// nil: more pieces may come.
  private var trailers: HTTP2Headers?
  /// nghttp2 waits to be told that there is more.
  private var isDeferred = false

  /// What there is to be sent now.
  enum Next {
    /// So many bytes.
    case bytes(Int)
    /// The same, and nothing behind them but these trailers.
    case last(Int, HTTP2Headers)
    /// Nothing, until `resume` says otherwise.
    case nothing
  }

  /// - Parameter isTold: whether `write` tells when the piece was taken.
  mutating func append(_ bytes: [UInt8], isTold: Bool) {
    pieces.append(Piece(bytes: bytes, isTold: isTold))
    queuedBytes += bytes.count
  }

  mutating func finish(_ trailers: HTTP2Headers) { self.trailers = trailers }

  /// There is more than before.
  ///
  /// - Returns: whether nghttp2 must be told.
  mutating func resume() -> Bool {
    defer { isDeferred = false }
    return isDeferred
  }

  /// As much as there is, up to so many bytes.
  mutating func next(bytesMax: Int) -> Next {
    let count = min(queuedBytes, bytesMax)
    if count == queuedBytes, let trailers { return .last(count, trailers) }
    isDeferred = count == 0
    return isDeferred ? .nothing : .bytes(count)
  }

  /// Writes so many bytes, no more than there are.
  ///
  /// - Returns: of how many pieces that are told these were the last.
  mutating func write(_ count: Int, to target: inout ByteBuffer) -> Int {
    var (left, told) = (count, 0)
    while first < pieces.count, left > 0 || pieces[first].bytes.isEmpty {
      let size = min(pieces[first].bytes.count - taken, left)
      pieces[first].bytes.withUnsafeBytes { piece in
        _ = target.writeBytes(UnsafeRawBufferPointer(rebasing: piece[taken..<taken + size]))
      }
      left -= size
      taken += size
      guard taken == pieces[first].bytes.count else { break }
      if pieces[first].isTold { told += 1 }
      pieces[first].bytes = []
      first += 1
      taken = 0
    }
    if first == pieces.count {
      pieces.removeAll(keepingCapacity: true)
      first = 0
    } else if first >= 64, first > pieces.count / 2 {
      pieces.removeSubrange(..<first)
      first = 0
    }
    queuedBytes -= count
    return told
  }
}
