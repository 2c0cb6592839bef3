import CMessages
import Core

/// Where the fields of an interaction's content are in the C message Interaction.
struct ContentMessage: Sendable {
  static let standard = ContentMessage(InteractionContent.fields)

  private struct Place: Sendable {
    /// Among all fields.
    var index: Int
    var value: ContentField.Value
    var place: MessageField
  }

  private let fields: [ContentField]
  /// Of the message itself.
  private let places: [Place]
  private let parents: [(field: SubmessageField, places: [Place])]

  private init(_ fields: [ContentField]) {
    let interaction = MessageField.descriptor(parley__v1__interaction__init)
    func places(of parent: String?, in descriptor: MessageField.Descriptor) -> [Place] {
      fields.enumerated().filter { $0.element.parent == parent }.map { index, field in
        Place(index: index, value: field.value, place: MessageField(field.name, of: descriptor))
      }
    }
    self.fields = fields
    self.places = places(of: nil, in: interaction)
    parents = Set(fields.compactMap(\.parent)).sorted().map { name in
      let parent = SubmessageField(name, of: interaction)
      return (parent, places(of: name, in: parent.descriptor))
    }
  }

  func read(
    _ message: UnsafeRawPointer, into content: inout InteractionContent, path: () -> String
  ) throws(RPCError) {
    try content.withMutableFields { (content) throws(RPCError) in
      try read(places, message, content, path: path)
      for parent in parents {
        if let message = parent.field.load(from: message) { try read(parent.places, message, content, path: path) }
      }
    }
  }

  private func read(
    _ places: [Place], _ message: UnsafeRawPointer, _ content: UnsafeMutablePointer<InteractionContent>,
    path: () -> String
  ) throws(RPCError) {
    for place in places {
      var fieldPath: String { "\(path()).\(fields[place.index].path)" }
      switch place.value {
      case .text(let value, _):
        value.set(content, try text(place.place.load(ProtobufCBinaryData.self, from: message), fieldPath))
      case .count(let value): value.set(content, place.place.load(Int32.self, from: message))
      case .optionalCount(let value): value.set(content, place.place.loadOptional(Int32.self, from: message))
      case .amount(let value, _): value.set(content, place.place.load(Int64.self, from: message))
      case .score(let value): value.set(content, place.place.load(Double.self, from: message))
      case .flag(let value): value.set(content, place.place.load(protobuf_c_boolean.self, from: message) != 0)
      case .intents(let value):
        let elements = place.place.loadArray(of: UnsafeMutablePointer<Parley__V1__Intent>.self, from: message)
        value.set(content, try intents(elements, fieldPath))
      }
    }
  }

  private func intents(
    _ elements: UnsafeBufferPointer<UnsafeMutablePointer<Parley__V1__Intent>>, _ path: @autoclosure () -> String
  ) throws(RPCError) -> [Intent] {
    var intents: [Intent] = []
    intents.reserveCapacity(elements.count)
    for (index, intent) in elements.enumerated() {
      let name = try text(intent.pointee.name, "\(path())[\(index)].name")
      intents.append(Intent(name: name, confidence: intent.pointee.confidence))
    }
    return intents
  }

  func write(_ content: InteractionContent, to message: UnsafeMutableRawPointer, _ arena: Arena) {
    content.withFields { content in
      write(content, places, to: message, arena)
      for parent in parents { write(content, parent.places, to: parent.field.make(in: message, arena), arena) }
    }
  }

  private func write(
    _ content: UnsafePointer<InteractionContent>, _ places: [Place], to message: UnsafeMutableRawPointer, _ arena: Arena
  ) {
    for place in places {
      let field = place.place
      switch place.value {
      case .text(let value, _): field.store(arena.text(value.get(content)), in: message)
      case .count(let value): field.store(value.get(content), in: message)
      case .optionalCount(let value): field.storeOptional(value.get(content), in: message)
      case .amount(let value, _): field.store(value.get(content), in: message)
      case .score(let value): field.store(value.get(content), in: message)
      case .flag(let value): field.store(value.get(content) ? 1 : 0 as protobuf_c_boolean, in: message)
      case .intents(let value):
        let (count, elements) = arena.array(value.get(content)) {
          let intent = arena.make(parley__v1__intent__init)
          intent.pointee.name = arena.text($0.name)
          intent.pointee.confidence = $0.confidence
          return Optional(intent)
        }
        field.store(count: count, elements, in: message)
      }
    }
  }
}
