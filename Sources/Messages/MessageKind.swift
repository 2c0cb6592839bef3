import CMessages
public import Core
import Glibc

/// What protobuf-c generates for one kind of message, as one value.
struct MessageKind<M>: Sendable {
  typealias Initialize = @Sendable (UnsafeMutablePointer<M>?) -> Void
  typealias Unpack =
    @Sendable (UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?) -> UnsafeMutablePointer<M>?
  typealias PackedSize = @Sendable (UnsafePointer<M>?) -> Int
  typealias Pack = @Sendable (UnsafePointer<M>?, UnsafeMutablePointer<UInt8>?) -> Int

  /// "parley.v1.GetInteractionRequest"
  let name: String
  let initialize: Initialize
  private let unpack: Unpack
  private let packedSize: PackedSize
  private let pack: Pack

  init(
    _ name: String, _ initialize: @escaping Initialize, _ unpack: @escaping Unpack,
    _ packedSize: @escaping PackedSize, _ pack: @escaping Pack
  ) {
    self.name = name
    self.initialize = initialize
    self.unpack = unpack
    self.packedSize = packedSize
    self.pack = pack
  }

  /// Reads the bytes as a message, which lives as long as `body` runs.
  func decode<R>(
    _ bytes: UnsafeRawBufferPointer, _ body: (borrowing M) throws(RPCError) -> R
  ) throws(RPCError) -> R {
    // The largest request within every limit needs some 8 MiB of structs beside its own bytes.
    let arena = Arena(bytesMax: 16 * 1024 * 1024 + 4 * bytes.count)
    let message = arena.withAllocator {
      unpack($0, bytes.count, bytes.assumingMemoryBound(to: UInt8.self).baseAddress)
    }
    defer { withExtendedLifetime(arena) {} }
    guard let message else {
      throw RPCError(
        .invalidArgument, .requestMalformed,
        "the payload of \(bytes.count) bytes is no \(name), or holds more elements than any limit allows")
    }
    return try body(message.pointee)
  }

  func decode<R>(_ bytes: [UInt8], _ body: (borrowing M) throws(RPCError) -> R) throws(RPCError) -> R {
    try bytes.withUnsafeBufferPointer { (bytes) throws(RPCError) in try decode(UnsafeRawBufferPointer(bytes), body) }
  }

  /// The bytes of a message whose memory the caller keeps; one made in an arena is encoded by
  /// `Arena.encode`. They stand after `prefixBytes` that `prefix` fills in, given the message's size.
  func encode(
    _ message: UnsafePointer<M>, prefixBytes: Int = 0,
    prefix: (UnsafeMutableRawBufferPointer, _ size: Int) -> Void = { _, _ in }
  ) -> [UInt8] {
    let size = packedSize(message)
    return [UInt8](unsafeUninitializedCapacity: prefixBytes + size) { buffer, count in
      prefix(UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<prefixBytes]), size)
      if size > 0 { _ = pack(message, buffer.baseAddress! + prefixBytes) }
      count = prefixBytes + size
    }
  }
}

/// A value that has a form as a protobuf message.
public protocol WireMessage: SendableMetatype {
  /// Reads the encoded message.
  init(encoded: [UInt8]) throws(RPCError)

  /// The encoded message.
  func encoded() -> [UInt8]
}

/// The text of a field. Protobuf's strings are UTF-8, PostgreSQL's hold no NUL; protobuf-c checks
/// neither.
func text(_ data: ProtobufCBinaryData, _ field: @autoclosure () -> String) throws(RPCError) -> String {
  guard data.len > 0 else { return "" }
  // `String(decoding:)` replaces what is not valid UTF-8, so that the result has other bytes than were given. Comparing
  // these is faster than `String(validating:)`.
  let text = String(decoding: UnsafeBufferPointer(start: data.data, count: data.len), as: UTF8.self)
  guard isSame(text, data) else { throw .invalid(field(), "is not valid UTF-8") }
  guard memchr(data.data, 0, data.len) == nil else { throw .invalid(field(), "holds a NUL character; remove it") }
  return text
}

/// The same, without making anew what is `known`.
func text(
  _ data: ProtobufCBinaryData, known: String, _ field: @autoclosure () -> String
) throws(RPCError) -> String {
  isSame(known, data) ? known : try text(data, field())
}

/// Whether a text is these bytes.
func isSame(_ text: String, _ data: ProtobufCBinaryData) -> Bool {
  guard text.utf8.count == data.len else { return false }
  return data.len == 0
    || text.utf8.withContiguousStorageIfAvailable { memcmp($0.baseAddress!, data.data, data.len) == 0 } == true
}

/// A moment, or nil where the message has none.
func timestamp(
  _ message: UnsafePointer<Google__Protobuf__Timestamp>?, rounding: Timestamp.Rounding = .down,
  _ field: @autoclosure () -> String
) throws(RPCError) -> Timestamp? {
  guard let message = message?.pointee else { return nil }
  guard let time = Timestamp(seconds: message.seconds, nanoseconds: message.nanos, rounding: rounding) else {
    throw .invalid(
      field(),
      "is \(message.seconds) s and \(message.nanos) ns; allowed are the years 1 to 9999 and 0 to 999999999 ns")
  }
  return time
}

extension Arena {
  func timestamp(_ time: Timestamp) -> UnsafeMutablePointer<Google__Protobuf__Timestamp> {
    let message = make(google__protobuf__timestamp__init)
    (message.pointee.seconds, message.pointee.nanos) = time.protobuf
    return message
  }
}

/// The elements of a C array of pointers.
func elements<M>(
  _ count: Int, _ array: UnsafeMutablePointer<UnsafeMutablePointer<M>?>?
) -> some RandomAccessCollection<UnsafeMutablePointer<M>> {
  UnsafeBufferPointer(start: array, count: count).lazy.map { $0! }
}
