public import Core
import Messages

/// Contents as encoded requests, made once: a call copies one and writes its id and conversation into it.
///
/// A `RecordInteractionRequest` and one element of a `RecordInteractionsRequest` are the same bytes, so that a batch
/// is templates one after the other.
public struct RecordTemplates: Sendable {
  struct Template: Sendable {
    var start: Int
    var count: Int
    /// From its start.
    var idOffset: Int
    var conversationOffset: Int
  }

  /// Of an id, and of a conversation, in text.
  static let keyBytes = 36

  private let bytes: [UInt8]
  private let templates: [Template]

  public init(_ contents: [InteractionContent]) {
    let placeholder = InteractionID(high: 0, low: 0).description
    var bytes: [UInt8] = []
    var templates: [Template] = []
    for content in contents {
      var draft = InteractionDraft()
      draft.id = placeholder
      draft.content = content
      draft.content.conversationID = placeholder
      let encoded = RecordInteraction(interaction: draft).encoded()
      // Fields are encoded by their numbers: the element's own header, then id (1) and conversation_id (2).
      let idOffset = 1 + varintBytes(encoded, at: 1) + 2
      templates.append(
        Template(
          start: bytes.count, count: encoded.count, idOffset: idOffset,
          conversationOffset: idOffset + Self.keyBytes + 2))
      bytes += encoded
    }
    self.bytes = bytes
    self.templates = templates
  }

  func byteCount(_ item: RecordStream.Item) -> Int { templates[item.content].count }

  /// Writes the request that records the item, which takes `byteCount` bytes.
  func write(_ item: RecordStream.Item, to target: UnsafeMutableRawPointer) {
    let template = templates[item.content]
    bytes.withUnsafeBytes { source in
      target.copyMemory(from: source.baseAddress! + template.start, byteCount: template.count)
    }
    writeText(of: item.id, to: target + template.idOffset)
    writeText(of: item.conversation, to: target + template.conversationOffset)
  }

  /// The request that records the item.
  public func request(_ item: RecordStream.Item) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: byteCount(item)) { buffer, count in
      count = byteCount(item)
      write(item, to: UnsafeMutableRawPointer(buffer.baseAddress!))
    }
  }
}

private func varintBytes(_ bytes: [UInt8], at start: Int) -> Int {
  bytes[start...].prefix { $0 >= 0x80 }.count + 1
}

/// The 36 characters of an id, written where they belong. `InteractionID.description`, without a `String`.
func writeText(of id: InteractionID, to target: UnsafeMutableRawPointer) {
  let parts = (
    hexDigits(id.high >> 32), hexDigits(id.high & 0xffff_ffff), hexDigits(id.low >> 32),
    hexDigits(id.low & 0xffff_ffff)
  )
  let dash = UInt8(ascii: "-")
  target.storeBytes(of: parts.0.bigEndian, as: UInt64.self)
  target.storeBytes(of: dash, toByteOffset: 8, as: UInt8.self)
  target.storeBytes(of: UInt32(parts.1 >> 32).bigEndian, toByteOffset: 9, as: UInt32.self)
  target.storeBytes(of: dash, toByteOffset: 13, as: UInt8.self)
  target.storeBytes(of: UInt32(truncatingIfNeeded: parts.1).bigEndian, toByteOffset: 14, as: UInt32.self)
  target.storeBytes(of: dash, toByteOffset: 18, as: UInt8.self)
  target.storeBytes(of: UInt32(parts.2 >> 32).bigEndian, toByteOffset: 19, as: UInt32.self)
  target.storeBytes(of: dash, toByteOffset: 23, as: UInt8.self)
  target.storeBytes(of: UInt32(truncatingIfNeeded: parts.2).bigEndian, toByteOffset: 24, as: UInt32.self)
  target.storeBytes(of: parts.3.bigEndian, toByteOffset: 28, as: UInt64.self)
}

/// The eight hexadecimal digits of 32 bits, as the bytes of a word: its nibbles are spread over its bytes, then all
/// eight become ASCII at once.
private func hexDigits(_ value: UInt64) -> UInt64 {
  var digits = (value | value << 16) & 0x0000_ffff_0000_ffff
  // The upper half of the 32 bits now stands in the upper half of the word.
  digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff
  digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f
  let letters = ((digits &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
  return digits &+ 0x3030_3030_3030_3030 &+ letters &* UInt64(UInt8(ascii: "a") - UInt8(ascii: "9") - 1)
}
