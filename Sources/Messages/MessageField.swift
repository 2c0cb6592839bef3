import CMessages

/// A field of a C message, found by its name in the schema: what a table of fields reaches messages by.
struct MessageField: Sendable {
  /// From the message's beginning.
  private let offset: Int
  /// Of the count of a repeated field, or of the case of an optional one.
  private let quantifierOffset: Int
  private let number: UInt32
  let type: ProtobufCType

  typealias Descriptor = UnsafePointer<ProtobufCMessageDescriptor>

  /// A schema without that field is a mistake of the program's, which every test of messages finds.
  init(_ name: String, of descriptor: Descriptor) {
    let field = Self.descriptor(of: name, descriptor).pointee
    offset = Int(field.offset)
    quantifierOffset = Int(field.quantifier_offset)
    number = field.id
    type = field.type
  }

  fileprivate static func descriptor(of name: String, _ descriptor: Descriptor) -> UnsafePointer<
    ProtobufCFieldDescriptor
  > {
    guard let field = protobuf_c_message_descriptor_get_field_by_name(descriptor, name) else {
      preconditionFailure("the message \(String(cString: descriptor.pointee.name)) has no field \(name)")
    }
    return field
  }

  /// The descriptor of a kind of message.
  static func descriptor<M>(_ initialize: (UnsafeMutablePointer<M>?) -> Void) -> Descriptor {
    withUnsafeTemporaryAllocation(of: M.self, capacity: 1) { message in
      initialize(message.baseAddress!)
      // Every message begins with its base.
      return UnsafeRawPointer(message.baseAddress!).load(as: ProtobufCMessage.self).descriptor
    }
  }

  // MARK: Values

  func load<T>(_ type: T.Type, from message: UnsafeRawPointer) -> T { message.load(fromByteOffset: offset, as: type) }

  func store<T>(_ value: T, in message: UnsafeMutableRawPointer) {
    message.storeBytes(of: value, toByteOffset: offset, as: T.self)
  }

  /// Of an `optional` field, which the C messages have as the only member of a oneof.
  func loadOptional<T>(_ type: T.Type, from message: UnsafeRawPointer) -> T? {
    message.load(fromByteOffset: quantifierOffset, as: UInt32.self) == number ? load(type, from: message) : nil
  }

  func storeOptional<T>(_ value: T?, in message: UnsafeMutableRawPointer) {
    guard let value else { return }
    message.storeBytes(of: number, toByteOffset: quantifierOffset, as: UInt32.self)
    store(value, in: message)
  }

  /// The elements of a `repeated` field, as long as the message lives.
  func loadArray<T>(of type: T.Type, from message: UnsafeRawPointer) -> UnsafeBufferPointer<T> {
    UnsafeBufferPointer(
      start: load(UnsafePointer<T>?.self, from: message),
      count: message.load(fromByteOffset: quantifierOffset, as: Int.self))
  }

  func store<T>(count: Int, _ elements: UnsafeMutablePointer<T>?, in message: UnsafeMutableRawPointer) {
    message.storeBytes(of: count, toByteOffset: quantifierOffset, as: Int.self)
    store(elements, in: message)
  }
}

/// A field that is a message of its own, which other fields are in.
struct SubmessageField: Sendable {
  let field: MessageField
  nonisolated(unsafe) let descriptor: MessageField.Descriptor

  init(_ name: String, of descriptor: MessageField.Descriptor) {
    field = MessageField(name, of: descriptor)
    self.descriptor = MessageField.descriptor(of: name, descriptor).pointee.descriptor
      .assumingMemoryBound(to: ProtobufCMessageDescriptor.self)
  }

  /// The message, or nil where it is absent.
  func load(from message: UnsafeRawPointer) -> UnsafeRawPointer? { field.load(UnsafeRawPointer?.self, from: message) }

  /// Makes an empty message in the arena.
  func make(in message: UnsafeMutableRawPointer, _ arena: Arena) -> UnsafeMutableRawPointer {
    let made = arena.allocate(descriptor.pointee.sizeof_message)!
      .bindMemory(to: ProtobufCMessage.self, capacity: 1)
    descriptor.pointee.message_init(made)
    field.store(made, in: message)
    return UnsafeMutableRawPointer(made)
  }
}
