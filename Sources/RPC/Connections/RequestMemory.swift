import Core

/// What requests that are not complete may hold on all connections together: those of connections that have made a call
/// with a valid token, and apart from them those of strangers, who hold none of what the others may have.
final class RequestMemory: Sendable {
  fileprivate let known: CallMemory
  fileprivate let strangers: CallMemory

  init(
    knownBytesMax: Int = Limits.unfinishedRequestBytesMax,
    strangerBytesMax: Int = Limits.unfinishedStrangerRequestBytesMax
  ) {
    known = CallMemory(bytesMax: knownBytesMax, bytesPerCallerMax: knownBytesMax)
    strangers = CallMemory(bytesMax: strangerBytesMax, bytesPerCallerMax: strangerBytesMax)
  }
}

/// What the requests of one connection that are not complete hold. Used on the connection's event loop alone.
///
/// The server's sum is told of it by pieces: what a connection holds below a piece costs nothing, and is not in the sum.
final class UnfinishedRequests {
  static let pieceBytes = 64 * 1024

  private let connection: AcceptedConnection
  private let known: CallMemory.Share
  private let stranger: CallMemory.Share
  /// Of which one `told` was taken.
  private var share: CallMemory.Share
  private var told = 0

  init(memory: RequestMemory, connection: AcceptedConnection) {
    self.connection = connection
    known = memory.known.shareOfOneConnection()
    stranger = memory.strangers.shareOfOneConnection()
    share = stranger
  }

  deinit { share.release(told) }

  /// They hold so many bytes now.
  ///
  /// - Returns: false where the server has no room for so many.
  func hold(_ bytes: Int) -> Bool {
    let pieces = bytes / Self.pieceBytes * Self.pieceBytes
    if pieces == told { return true }
    guard pieces > told else {
      share.release(told - pieces)
      told = pieces
      return true
    }
    if told == 0 { share = connection.isKnown ? known : stranger }
    do throws(RPCError) { try share.reserve(pieces - told) } catch { return false }
    told = pieces
    return true
  }
}
