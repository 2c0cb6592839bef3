import Core
import Postgres

// Parley's own values in PostgreSQL's formats.

extension Parameters {
  mutating func add(_ value: InteractionID) { addUUID(high: value.high, low: value.low) }

  mutating func add(_ value: Timestamp) { addTimestamp(milliseconds: value.milliseconds) }

  mutating func add(_ values: [InteractionID]) {
    addArray(of: PostgresType.uuid, count: values.count) { for value in values { $0.add(value) } }
  }
}

extension Row {
  func id(_ column: Int) throws(PostgresError) -> InteractionID {
    let (high, low) = try uuid(column)
    return InteractionID(high: high, low: low)
  }

  func timestamp(_ column: Int) throws(PostgresError) -> Timestamp {
    Timestamp(milliseconds: try timestampMilliseconds(column))
  }
}
