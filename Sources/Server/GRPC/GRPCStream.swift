import Domain
import NIOHTTP2
import Wire

/// One stream of a gRPC connection.
final class GRPCStream {
  let id: HTTP2StreamID
  let opened: ContinuousClock.Instant
  var head: GRPCRequestHead?
  var method: Method?
  var decoder = GRPCMessageDecoder(compression: nil, bytesMax: Limits.frameBytesMax)
  var requestsMax = 1
  var messageCount = 0
  /// What the connection counts of an unfinished request.
  var countedBytes = 0
  /// What it counts of small messages of the response, until the stream is closed.
  var unreadBytes = 0
  /// Of a unary request, until it is complete.
  var message: RPCMessage?
  /// Of a streaming request.
  var inbox: MessageInbox?
  var call: RunningCall?
  var windowBytes = GRPCHandler.streamWindowBytes
  /// What the peer may be sent on this stream, as last told.
  var answerWindowBytes: Int?
  /// Of a streaming response, those the peer's windows have not taken.
  var messagesWaiting = 0
  /// The peer has sent its last frame.
  var isRequestEnded = false
  var isInitialSent = false
  /// The call's end was sent, or the stream is gone.
  var isAnswered = false

  init(id: HTTP2StreamID, opened: ContinuousClock.Instant) {
    self.id = id
    self.opened = opened
  }

  func open(_ head: GRPCRequestHead, _ method: Method) {
    self.head = head
    self.method = method
    decoder = GRPCMessageDecoder(compression: head.encoding, bytesMax: Limits.frameBytesMax)
  }

  /// Something was written that the peer's windows have not taken: an end that they have is the stream's.
  var isAnswerWaiting: Bool { isAnswered || messagesWaiting > 0 }

  /// Of requests not complete or not taken, as large as they are when decompressed.
  var heldBytes: Int { decoder.bufferedBytes + (message?.bytes.count ?? 0) + (inbox?.bytes ?? 0) }

  /// Of the caller's deadline, and of the longest a call may take.
  func timeLeft(at now: ContinuousClock.Instant) -> Duration {
    let longest = Duration.seconds(Limits.callSecondsMax)
    return min(head?.timeout ?? longest, longest) - (now - opened)
  }

  /// The caller's own encoding, where it takes answers in it too.
  var answerEncoding: Compression? {
    guard let head, let encoding = head.encoding else { return nil }
    return head.accepts?.contains(encoding) ?? true ? encoding : nil
  }
}
