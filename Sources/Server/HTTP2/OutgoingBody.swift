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
  private(set) var trailers: HTTP2Headers?
  /// nghttp2 waits to be told that there is more.
  var isDeferred = false

  /// The peer has not taken all of it, and could by opening its windows.
  var isWaiting: Bool { queuedBytes > 0 }
  var isEmpty: Bool { queuedBytes == 0 }

  /// - Parameter isTold: whether `take` tells when the piece was taken.
  mutating func append(_ bytes: [UInt8], isTold: Bool) {
    pieces.append(Piece(bytes: bytes, isTold: isTold))
    queuedBytes += bytes.count
  }

  mutating func finish(_ trailers: HTTP2Headers) { self.trailers = trailers }

  /// Copies as much as there is, and there is room for.
  ///
  /// - Returns: how much that is, and how many pieces that are told were taken whole with it.
  mutating func take(into target: UnsafeMutableRawBufferPointer) -> (bytes: Int, told: Int) {
    var count = 0
    var told = 0
    while first < pieces.count, count < target.count {
      let size = min(pieces[first].bytes.count - taken, target.count - count)
      pieces[first].bytes.withUnsafeBytes { piece in
        UnsafeMutableRawBufferPointer(rebasing: target[count..<count + size])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[taken..<taken + size]))
      }
      count += size
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
    return (count, told)
  }
}
