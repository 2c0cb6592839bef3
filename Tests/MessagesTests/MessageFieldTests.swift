import CMessages
import Core
import Testing

@testable import Messages

/// The tables of fields against the schema.
@Suite struct MessageFieldTests {
  private func names(_ descriptor: MessageField.Descriptor) -> Set<String> {
    Set(
      UnsafeBufferPointer(start: descriptor.pointee.fields, count: Int(descriptor.pointee.n_fields))
        .map { String(cString: $0.name) })
  }

  @Test func everyFieldOfAnInteractionIsDeclared() {
    let fields = InteractionContent.fields
    #expect(Set(fields.map(\.path)).count == fields.count)
    let own = Set(fields.filter { $0.parent == nil }.map(\.name)).union(fields.compactMap(\.parent))
    #expect(
      names(MessageField.descriptor(parley__v1__interaction__init))
        == own.union(["id", "created_at", "updated_at"]))
    let usage = Set(fields.filter { $0.parent == "token_usage" }.map(\.name))
    #expect(names(MessageField.descriptor(parley__v1__token_usage__init)) == usage.union(["total_tokens"]))
  }

  @Test func everyFieldOfStatisticsIsDeclared() {
    let fields = StatsField.all.map(\.name)
    #expect(names(MessageField.descriptor(parley__v1__stats__init)) == Set(fields))
    #expect(Set(fields).count == fields.count)
  }

  @Test func theTypesAreThoseOfTheSchema() {
    let interaction = MessageField.descriptor(parley__v1__interaction__init)
    for field in InteractionContent.fields {
      let holder = field.parent.map { SubmessageField($0, of: interaction).descriptor } ?? interaction
      let type: ProtobufCType =
        switch field.value {
        case .text: PROTOBUF_C_TYPE_BYTES
        case .count, .optionalCount: PROTOBUF_C_TYPE_INT32
        case .amount: PROTOBUF_C_TYPE_INT64
        case .score: PROTOBUF_C_TYPE_DOUBLE
        case .flag: PROTOBUF_C_TYPE_BOOL
        case .intents: PROTOBUF_C_TYPE_MESSAGE
        }
      #expect(MessageField(field.name, of: holder).type == type, "\(field.path)")
    }
    let stats = MessageField.descriptor(parley__v1__stats__init)
    for field in StatsField.all {
      let isReal = MessageField(field.name, of: stats).type == PROTOBUF_C_TYPE_DOUBLE
      if case .real = field.get(Stats()) { #expect(isReal, "\(field.name)") }
    }
  }

  /// Absent is another value than zero.
  @Test func anOptionalFieldIsAbsentOrHasAValue() {
    let arena = Arena()
    let filter = MessageField.descriptor(parley__v1__interaction_filter__init)
    let field = MessageField("min_confidence", of: filter)
    for value in [nil, 0, 0.5] as [Double?] {
      let message = arena.make(parley__v1__interaction_filter__init)
      field.storeOptional(value, in: message)
      #expect(field.loadOptional(Double.self, from: message) == value)
      #expect(
        (message.pointee._min_confidence_case == PARLEY__V1__INTERACTION_FILTER___MIN_CONFIDENCE_MIN_CONFIDENCE)
          == (value != nil))
    }
  }
}
