import Core
import Postgres

/// How interactions are stored and counted: the columns of their table, the measures taken from them, and every statement
/// that names one of either. A store and all its parts go by one layout.
final class RecordLayout: Sendable {
  let columns: [Column]
  let plan: MeasurePlan
  let statements: LayoutStatements
  private let codecs: [ColumnCodec]
  private let shortCodecs: [ColumnCodec]
  private let comparedCodecs: [ColumnCodec]
  private let otherCodecs: [ColumnCodec]

  /// What `InteractionContent.fields` and `Measures.standard` declare.
  static let standard = RecordLayout(fields: InteractionContent.fields, measures: .standard)

  init(fields: [ContentField], measures: Measures) {
    let all = fields.flatMap(Column.columns)
    // Those that are compared stand first, so that the bytes of a row begin with all that a retry has to repeat.
    columns = all.filter(\.isCompared) + all.filter { !$0.isCompared }
    codecs = columns.map(\.codec)
    shortCodecs = columns.filter { !$0.isLong }.map(\.codec)
    comparedCodecs = columns.filter(\.isCompared).map(\.codec)
    otherCodecs = columns.filter { !$0.isCompared }.map(\.codec)
    plan = MeasurePlan(measures, fields: fields)
    statements = LayoutStatements(columns, plan)
  }

  // MARK: Rows

  /// The values of interaction_insert.sql and interaction_copy.sql.
  func encoded(_ interaction: Interaction, tenant: TenantKey) -> EncodedInteraction {
    var values = Parameters(bytesExpected: interaction.bytes)
    values.add(tenant.rawValue)
    values.add(interaction.id)
    let comparedBytes = interaction.content.withFields { content in
      for codec in comparedCodecs { codec.encode(content, &values) }
      let comparedBytes = values.bytes.count
      for codec in otherCodecs { codec.encode(content, &values) }
      return comparedBytes
    }
    return EncodedInteraction(values: values, comparedBytes: comparedBytes)
  }

  /// From a row that begins with what `LayoutStatements` selects.
  ///
  /// - Parameter hasTexts: the row has the long columns, too.
  func interaction(_ row: Row, hasTexts: Bool = true) throws(PostgresError) -> Interaction {
    let codecs = hasTexts ? codecs : shortCodecs
    var content = InteractionContent()
    try content.withMutableFields { (content) throws(PostgresError) in
      var column = 1
      for codec in codecs {
        try codec.decode(row, column, content)
        column += 1
      }
    }
    let (id, updatedAt) = (try row.id(0), try row.timestamp(codecs.count + 1))
    return Interaction(id: id, content: consume content, updatedAt: updatedAt)
  }

  /// The place of the first column behind an interaction's.
  var selectedCount: Int { columns.count + 2 }
}

/// An interaction as the values of its row.
struct EncodedInteraction: Sendable {
  var values: Parameters
  /// So many bytes are the key and what a retry has to repeat: the same for the same content, and others for any other.
  let comparedBytes: Int

  var compared: ArraySlice<UInt8> { values.bytes[..<comparedBytes] }
}
