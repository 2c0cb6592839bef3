import Core
import Messages

/// Looks at answers only as far as needed to count them.
enum ResponseScan {
  /// The payload of a ttRPC response, or the error it holds. Fields: status = 1, payload = 2.
  static func payload(ofResponse data: UnsafeRawBufferPointer) -> Result<UnsafeRawBufferPointer, RPCError> {
    guard let first = data.first else { return .success(data) }
    var reader = FieldReader(data)
    if first == 0x12, let field = reader.next(), reader.isAtEnd { return .success(field.bytes) }
    // Anything but a lone payload is rare, and read with care.
    do throws(RPCError) {
      if case .failure(let error) = try Envelope.reply(Array(data)) { return .failure(error) }
    } catch {
      return .failure(unreadable(error.message))
    }
    return .failure(unreadable("it holds neither a payload nor an error"))
  }

  /// How many records a response speaks of; an error where some of a batch failed.
  static func records(_ operation: BenchOperation, sent: Int, _ payload: UnsafeRawBufferPointer)
    -> Result<Int, RPCError>
  {
    switch operation {
    case .record where sent > 1: results(sent, payload)
    case .record, .get: payload.isEmpty ? .failure(unreadable("it is empty")) : .success(sent)
    case .list: count(payload)
    case .stats: payload.isEmpty ? .failure(unreadable("it is empty")) : .success(0)
    }
  }

  /// ListInteractionsResponse: interactions = 1.
  private static func count(_ payload: UnsafeRawBufferPointer) -> Result<Int, RPCError> {
    var reader = FieldReader(payload)
    var count = 0
    while let field = reader.next() { if field.number == 1 { count += 1 } }
    return reader.isAtEnd ? .success(count) : .failure(unreadable("it is no list"))
  }

  /// RecordInteractionsResponse: results = 1, and in each error = 4.
  private static func results(_ sent: Int, _ payload: UnsafeRawBufferPointer) -> Result<Int, RPCError> {
    var reader = FieldReader(payload)
    var count = 0
    while let result = reader.next() {
      count += 1
      var fields = FieldReader(result.bytes)
      while let field = fields.next() {
        if field.number == 4 { return .failure(firstFailure(payload)) }
      }
    }
    guard reader.isAtEnd, count == sent else {
      return .failure(unreadable("it has \(count) results for \(sent) interactions"))
    }
    return .success(count)
  }

  private static func firstFailure(_ payload: UnsafeRawBufferPointer) -> RPCError {
    do throws(RPCError) {
      let results = try [Result<Recorded, RPCError>](encoded: Array(payload))
      let failures = results.compactMap { if case .failure(let error) = $0 { error } else { nil } }
      guard var first = failures.first else { return unreadable("it has an error that says OK") }
      first.message = "\(failures.count) of \(results.count) in one batch: \(first.message)"
      return first
    } catch {
      return unreadable(error.message)
    }
  }

  private static func unreadable(_ why: String) -> RPCError {
    RPCError(.unknown, .requestMalformed, "the answer cannot be read: \(why)")
  }
}

/// Goes through the fields of an encoded protobuf message.
struct FieldReader {
  struct Field {
    var number: Int
    /// Of a length-delimited field; empty for any other.
    var bytes: UnsafeRawBufferPointer
  }

  private let message: UnsafeRawBufferPointer
  private var place = 0

  init(_ message: UnsafeRawBufferPointer) {
    self.message = message
  }

  /// Everything was read; false after a field that is none.
  var isAtEnd: Bool { place == message.count }

  mutating func next() -> Field? {
    let start = place
    guard !isAtEnd, let tag = varint() else { return stop(at: start) }
    var bytes = UnsafeRawBufferPointer(rebasing: message[place..<place])
    switch tag & 7 {
    case 0: guard varint() != nil else { return stop(at: start) }
    case 1: place += 8
    case 2:
      guard let length = varint(), length <= message.count - place else { return stop(at: start) }
      bytes = UnsafeRawBufferPointer(rebasing: message[place..<place + length])
      place += length
    case 5: place += 4
    default: return stop(at: start)
    }
    guard place <= message.count else { return stop(at: start) }
    return Field(number: tag >> 3, bytes: bytes)
  }

  private mutating func stop(at start: Int) -> Field? {
    place = start
    return nil
  }

  private mutating func varint() -> Int? {
    var (value, shift) = (0, 0)
    while place < message.count, shift < 63 {
      let byte = message[place]
      place += 1
      value |= Int(byte & 0x7f) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    return nil
  }
}
