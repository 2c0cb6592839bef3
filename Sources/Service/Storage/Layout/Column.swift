import Core
import Postgres

/// A column of `parley.interactions`, beside the key and what the database fills in.
struct Column: Sendable {
  let name: String
  /// As SQL names it.
  let type: String
  let isLong: Bool
  let isCompared: Bool
  /// SQL for the part of it that statements read: all of it, but of what no server has written.
  let bounded: String
  /// SQL for what it weighs on the wire where it can weigh much, never too little. octet_length reads no text.
  let weight: String?
  let codec: ColumnCodec

  private init(
    _ name: String, _ type: String, of field: ContentField, bounded: String? = nil, weight: String? = nil,
    _ codec: ColumnCodec
  ) {
    self.name = name
    self.type = type
    self.isLong = field.isLong
    self.isCompared = field.isCompared
    self.bounded = bounded ?? name
    self.weight = weight
    self.codec = codec
  }

  /// The columns of a field: one, but for intents, whose names and confidences stand side by side.
  static func columns(of field: ContentField) -> [Column] {
    let name = field.name
    switch field.value {
    case .text(let text, let bytesMax):
      let bounded = BoundedColumns.text(name, bytesMax: bytesMax)
      return [Column(name, "text", of: field, bounded: bounded, weight: "octet_length(\(name))", .text(text))]
    case .count(let count): return [Column(name, "int4", of: field, .int4(count))]
    case .optionalCount(let count): return [Column(name, "int4", of: field, .optionalInt4(count))]
    case .amount(let amount, let allowed): return [Column(name, "int8", of: field, .int8(amount, allowed))]
    case .score(let score): return [Column(name, "float8", of: field, .float8(score))]
    case .flag(let flag): return [Column(name, "bool", of: field, .bool(flag))]
    case .intents(let intents):
      return [
        Column(
          "intent_names", "text[]", of: field, bounded: BoundedColumns.intentNames,
          weight: "octet_length(array_to_string(intent_names, '')) + 32 * cardinality(intent_names)",
          .intentNames(intents)),
        Column(
          "intent_confidences", "float8[]", of: field, bounded: BoundedColumns.intentConfidences,
          .intentConfidences(intents)),
      ]
    }
  }
}

/// How a column's value is written and read.
enum ColumnCodec: Sendable {
  case text(Accessor<String>)
  case int4(Accessor<Int32>)
  case optionalInt4(Accessor<Int32?>)
  case int8(Accessor<Int64>, ClosedRange<Int64>)
  case float8(Accessor<Double>)
  case bool(Accessor<Bool>)
  case intentNames(Accessor<[Intent]>)
  case intentConfidences(Accessor<[Intent]>)

  func encode(_ content: UnsafePointer<InteractionContent>, _ values: inout Parameters) {
    switch self {
    case .text(let text): text.read(content) { values.add($0) }
    case .int4(let number): values.add(number.get(content))
    case .optionalInt4(let number): values.add(number.get(content))
    case .int8(let number, _): values.add(number.get(content))
    // -0 equals 0, and is 0 here.
    case .float8(let number): values.add(number.get(content) + 0)
    case .bool(let flag): values.add(flag.get(content))
    case .intentNames(let intents):
      intents.read(content) { intents in
        values.addArray(of: PostgresType.text, count: intents.count) { for intent in intents { $0.add(intent.name) } }
      }
    case .intentConfidences(let intents):
      intents.read(content) { intents in
        values.addArray(of: PostgresType.float8, count: intents.count) {
          for intent in intents { $0.add(intent.confidence + 0) }
        }
      }
    }
  }

  func decode(
    _ row: Row, _ column: Int, _ content: UnsafeMutablePointer<InteractionContent>
  ) throws(PostgresError) {
    switch self {
    case .text(let text): text.set(content, try row.text(column))
    case .int4(let number): number.set(content, max(try row.int32(column), 0))
    case .optionalInt4(let number): number.set(content, row.isNull(column) ? nil : max(try row.int32(column), 0))
    case .int8(let number, let allowed):
      number.set(content, min(max(try row.int64(column), allowed.lowerBound), allowed.upperBound))
    case .float8(let number): number.set(content, BoundedColumns.score(try row.double(column)))
    case .bool(let flag): flag.set(content, try row.bool(column))
    case .intentNames(let intents):
      intents.set(content, try row.texts(column) { Intent(name: $0, confidence: 0) })
    case .intentConfidences(let intents):
      // Where other programs have written more of one than of the other, those that have both count.
      let confidences = try row.doubles(column)
      intents.modify(content) { intents in
        intents.removeLast(max(intents.count - confidences.count, 0))
        for place in intents.indices { intents[place].confidence = BoundedColumns.score(confidences[place]) }
      }
    }
  }
}
