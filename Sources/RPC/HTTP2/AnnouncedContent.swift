/// What requests have still to send of the content whose length they have told (RFC 9113, section 8.1.1). Pure.
struct AnnouncedContent {
  /// Of requests that told it: few do. Less than 0 where one has sent too much.
  private var bytesLeft: [StreamID: Int] = [:]

  mutating func announce(_ bytes: Int, on stream: StreamID) { bytesLeft[stream] = bytes }

  /// - Returns: false where there is more than was told.
  mutating func take(_ bytes: Int, on stream: StreamID) -> Bool {
    guard !bytesLeft.isEmpty, let left = bytesLeft[stream] else { return true }
    let rest = left - bytes
    bytesLeft[stream] = rest
    return rest >= 0
  }

  /// The stream has sent all that it told of.
  func isWhole(on stream: StreamID) -> Bool { bytesLeft.isEmpty || bytesLeft[stream] ?? 0 == 0 }

  mutating func forget(_ stream: StreamID) {
    if !bytesLeft.isEmpty { bytesLeft[stream] = nil }
  }
}
