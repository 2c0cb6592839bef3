import Core

/// The table that Parley is held against: the plain schema in one table, with an index for each filter.
struct ReferenceTable {
  static let schema = "parley_bench"
  static let columnCount = 18
  static let tenant = "bench-0"

  static let create = """
    DROP SCHEMA IF EXISTS \(schema) CASCADE;
    CREATE SCHEMA \(schema);
    CREATE TABLE \(schema).interactions (
      id uuid PRIMARY KEY, tenant text NOT NULL, conversation_id text NOT NULL, created_at timestamptz NOT NULL,
      customer_message text NOT NULL, agent_response text NOT NULL, detected_intents jsonb NOT NULL,
      model_used text NOT NULL, context_size int NOT NULL, processing_time_ms int NOT NULL,
      confidence_score float8 NOT NULL, handoff_triggered bool NOT NULL, handoff_reason text NOT NULL,
      message_type text NOT NULL, prompt_tokens int NOT NULL, completion_tokens int NOT NULL,
      estimated_cost_nanos bigint NOT NULL, updated_at timestamptz NOT NULL);
    CREATE INDEX ON \(schema).interactions (conversation_id, created_at);
    CREATE INDEX ON \(schema).interactions (model_used, created_at);
    CREATE INDEX ON \(schema).interactions (confidence_score);
    CREATE INDEX ON \(schema).interactions (handoff_triggered, created_at);
    CREATE INDEX ON \(schema).interactions (message_type, created_at);
    """
  static let drop = "DROP SCHEMA IF EXISTS \(schema) CASCADE"
  static let copy = "COPY interactions FROM STDIN (FORMAT binary)"
  static let insert =
    "INSERT INTO interactions VALUES (\((1...columnCount).map { "$\($0)" }.joined(separator: ", ")))"
  static let select = "SELECT * FROM interactions WHERE id = $1 AND tenant = $2"

  /// What `GetStats` answers over 30 days by the hour, as five plain statements.
  static let stats: [String] = {
    let sums = """
      count(*), sum(estimated_cost_nanos), avg(confidence_score), count(*) FILTER (WHERE handoff_triggered),
      avg(processing_time_ms), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY processing_time_ms),
      sum(prompt_tokens), sum(completion_tokens), count(*) FILTER (WHERE confidence_score >= 0.7)
      """
    let rows = """
      FROM interactions WHERE tenant = '\(tenant)' AND created_at >= now() - interval '30 days' AND created_at <= now()
      """
    return [
      "SELECT \(sums) \(rows)",
      "SELECT model_used, \(sums) \(rows) GROUP BY 1",
      "SELECT message_type, \(sums) \(rows) GROUP BY 1",
      "SELECT handoff_reason, \(sums) \(rows) AND handoff_triggered GROUP BY 1",
      "SELECT date_trunc('hour', created_at), \(sums) \(rows) GROUP BY 1 ORDER BY 1",
    ]
  }()

  /// The header of binary COPY: signature, flags, no extension.
  static let copyHeader: [UInt8] = [UInt8]("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0] + [UInt8](repeating: 0, count: 8)
  static let copyTrailer: [UInt8] = [0xff, 0xff]

  /// Of each content, the fields from customer_message to estimated_cost_nanos.
  private let middles: [[UInt8]]

  init(_ pool: ContentPool) {
    middles = pool.contents.map(Self.middle)
  }

  private static func middle(_ content: InteractionContent) -> [UInt8] {
    var fields = TupleFields()
    fields.add(content.customerMessage)
    fields.add(content.agentResponse)
    // jsonb in binary: its version, then JSON. The names are ours and need no escapes.
    let intents = content.detectedIntents.map { "{\"name\": \"\($0.name)\", \"confidence\": \($0.confidence)}" }
    fields.add("\u{1}[\(intents.joined(separator: ", "))]")
    fields.add(content.modelUsed)
    fields.add(content.contextSize)
    fields.add(content.processingTimeMilliseconds)
    fields.add(content.confidenceScore.bitPattern)
    fields.add(UInt8(content.handoffTriggered ? 1 : 0))
    fields.add(content.handoffReason)
    fields.add(content.messageType)
    fields.add(content.promptTokens)
    fields.add(content.completionTokens)
    fields.add(content.estimatedCostNanos)
    return fields.bytes
  }

  /// The item's row in PostgreSQL's binary formats, without COPY's count of fields.
  func append(_ item: RecordStream.Item, to fields: inout TupleFields) {
    // Microseconds since 2000-01-01.
    let time = (item.id.time.milliseconds - 946_684_800_000) * 1000
    fields.add(item.id)
    fields.add(Self.tenant)
    fields.add(text: item.conversation)
    fields.add(time)
    fields.append(middles[item.content])
    fields.add(time)
  }
}

/// Fields in PostgreSQL's binary formats, each after its length in four bytes.
struct TupleFields {
  private(set) var bytes: [UInt8] = []

  mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }
  mutating func append(_ more: [UInt8]) { bytes += more }

  /// COPY's count of the fields that follow.
  mutating func beginTuple(_ count: Int) { append(bigEndian: Int16(count)) }

  mutating func add(_ value: some FixedWidthInteger) {
    append(bigEndian: Int32(value.bitWidth / 8))
    append(bigEndian: value)
  }

  mutating func add(_ value: String) {
    append(bigEndian: Int32(value.utf8.count))
    bytes.append(contentsOf: value.utf8)
  }

  mutating func add(_ value: InteractionID) {
    append(bigEndian: Int32(16))
    append(bigEndian: value.high)
    append(bigEndian: value.low)
  }

  mutating func add(text value: InteractionID) {
    append(bigEndian: Int32(RecordTemplates.keyBytes))
    withUnsafeTemporaryAllocation(byteCount: RecordTemplates.keyBytes, alignment: 1) { text in
      writeText(of: value, to: text.baseAddress!)
      bytes.append(contentsOf: text)
    }
  }

  private mutating func append(bigEndian value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }
}
