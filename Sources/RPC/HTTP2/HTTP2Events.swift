/// The number of a stream on its connection.
typealias StreamID = Int32

/// Why a stream or a connection ends (RFC 9113, section 7).
enum HTTP2Code: UInt32 {
  case noError = 0
  case protocolError = 1
  case refusedStream = 7
  case enhanceYourCalm = 11
}

/// What has happened on an HTTP/2 connection.
enum HTTP2Event {
  /// The peer has begun a stream with these headers, and ends it with them where `isLast`.
  case opened(StreamID, HTTP2FieldRange, isLast: Bool)
  /// The bytes are there until the event was handled.
  case data(StreamID, UnsafeRawBufferPointer)
  /// The peer sends no more on the stream.
  case ended(StreamID)
  /// A piece of a response, of those that are told, was taken whole.
  case taken(StreamID)
  /// The stream is gone: it has ended on both sides, or was reset.
  case closed(StreamID)
  /// The peer has acknowledged a PING.
  case acknowledged(UInt64)
}

/// Headers that were received, until their event was handled.
struct HTTP2FieldRange {
  fileprivate var fields: Range<Int>
}

/// Headers received, in a memory that is used again and again.
struct HTTP2FieldStore {
  private struct Field {
    var start: Int
    var nameEnd: Int
    var valueEnd: Int
  }

  private static let keptBytesMax = 16 * 1024

  private var bytes: [UInt8] = []
  private var fields: [Field] = []
  /// Where the block begins that has not ended.
  private var blockStart: Int?
  /// The size of that block as RFC 9113 counts it (section 6.5.2).
  private(set) var blockBytes = 0

  mutating func beginBlock() {
    blockStart = fields.count
    blockBytes = 0
  }

  mutating func add(_ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>) {
    let start = bytes.count
    bytes.append(contentsOf: name)
    bytes.append(contentsOf: value)
    fields.append(Field(start: start, nameEnd: start + name.count, valueEnd: bytes.count))
  }

  /// Counts a header, which is then added or not.
  mutating func count(name: Int, value: Int) { blockBytes += name + value + 32 }

  mutating func endBlock() -> HTTP2FieldRange {
    let start = blockStart ?? fields.count
    blockStart = nil
    return HTTP2FieldRange(fields: start..<fields.count)
  }

  /// The block has failed.
  mutating func dropBlock() {
    guard let blockStart, blockStart < fields.count else {
      self.blockStart = nil
      return
    }
    bytes.removeSubrange(fields[blockStart].start...)
    fields.removeSubrange(blockStart...)
    self.blockStart = nil
  }

  func forEach(_ range: HTTP2FieldRange, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void) {
    bytes.withUnsafeBytes { bytes in
      for field in fields[range.fields] {
        body(
          UnsafeRawBufferPointer(rebasing: bytes[field.start..<field.nameEnd]),
          UnsafeRawBufferPointer(rebasing: bytes[field.nameEnd..<field.valueEnd]))
      }
    }
  }

  /// Forgets all but the block that has not ended.
  mutating func removeEnded() {
    if let blockStart, blockStart < fields.count {
      let shift = fields[blockStart].start
      bytes.removeSubrange(..<shift)
      fields.removeSubrange(..<blockStart)
      for place in fields.indices {
        fields[place].start -= shift
        fields[place].nameEnd -= shift
        fields[place].valueEnd -= shift
      }
    } else {
      let isKept = bytes.capacity <= Self.keptBytesMax
      bytes.removeAll(keepingCapacity: isKept)
      fields.removeAll(keepingCapacity: isKept)
    }
    if blockStart != nil { blockStart = 0 }
  }
}
