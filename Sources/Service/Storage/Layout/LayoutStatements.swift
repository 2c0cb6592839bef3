import Core
import Foundation
import Postgres

/// The statements that name columns or measures, composed of the files in `SQL` and a layout.
struct LayoutStatements: Sendable {
  /// Neither names `updated_at`: its default is the transaction's time by PostgreSQL's clock, whichever of the two writes
  /// the row.
  let copy: String
  let insert: Statement
  /// The same for several rows at once, which spares each most of what a statement costs. Greatest number first.
  let inserts: [(count: Int, statement: Statement)]
  /// One interaction in a transaction of its own, which one statement is. The tenant's name and change record, and
  /// how long it waits for what others have locked, are the last parameters.
  let record: Statement
  let find: StatementOfMonths
  /// The same about keys of one tenant, where tables are distributed.
  let findOfOne: StatementOfMonths
  let get: StatementOfMonths
  let pages: StatementForms<PageForm>
  let entries: StatementOfMonths
  /// The same for sums, which count no intents: they are not read.
  let entriesWithoutIntents: StatementOfMonths
  let stats: Statement
  let takeChangesOfAllBut: Statement
  let takeChangesOfTenant: Statement
  /// The same where tables are distributed.
  let takeDistributedChangesOfTenant: Statement
  let newerRollups: Statement

  init(_ columns: [Column], _ plan: MeasurePlan) {
    let names = ["tenant", "id"] + columns.map(\.name)
    let types = ["int4", "uuid"] + columns.map(\.type)
    let written = names.joined(separator: ", ")
    func values(of row: Int) -> String {
      types.enumerated().map { "$\(row * types.count + $0 + 1)::\($1)" }.joined(separator: ", ")
    }
    let insertInto = sql(PackageResources.interaction_insert_sql, ["columns": written])
    func insert(rows count: Int) -> String {
      insertInto + "VALUES " + (0..<count).map { "(\(values(of: $0)))" }.joined(separator: ", ")
    }
    copy = sql(PackageResources.interaction_copy_sql, ["columns": written])
    self.insert = Statement("interaction_insert", insert(rows: 1))
    inserts = [16, 8, 4, 2].map { (count: $0, statement: Statement("interaction_insert_\($0)", insert(rows: $0))) }
    let change = Statement.addChangeText(
      name: "$\(types.count + 1)", number: "$1", additions: "$\(types.count + 2)", lockMax: "$\(types.count + 3)")
    record = Statement(
      "interaction_record",
      "WITH change AS (\n\(change)RETURNING tenant)\n\(insertInto)SELECT \(values(of: 0))\nFROM change")

    let selected = ["columns": Self.selected(columns)]
    let findText = sql(PackageResources.interactions_find_sql, selected)
    find = StatementOfMonths("interactions_find", findText)
    findOfOne = StatementOfMonths("interactions_find_of_one", Statement.textAboutOneTenant(findText))
    get = StatementOfMonths("interactions_get", sql(PackageResources.interactions_get_sql, selected))
    pages = StatementForms(columns)

    let bounded = Dictionary(uniqueKeysWithValues: columns.map { ($0.name, $0.bounded) })
    let inputs = plan.inputFields.map(\.name).joined(separator: ", ")
    func entries(_ name: String, _ parts: [String: String]) -> StatementOfMonths {
      StatementOfMonths(name, sql(PackageResources.interaction_entries_sql, bounded.merging(parts) { $1 }))
    }
    self.entries = entries("interaction_entries", ["inputs": inputs])
    entriesWithoutIntents = entries(
      "interaction_entries_without_intents", ["inputs": inputs, "intent_names": "'{}'::text[]"])
    let measures = [
      "confidence_score": BoundedColumns.confidenceScore, "inputs": plan.clampedInputs,
      "measures": plan.sums.joined(separator: ",\n  "),
    ]
    stats = Statement(
      "interaction_stats", sql(PackageResources.interaction_stats_sql, bounded.merging(measures) { $1 }))

    func takeChanges(_ tenants: String, shard: String = "") -> Statement {
      let text = sql(
        PackageResources.change_records_take_sql, ["tenants": tenants, "shard": shard, "newer": plan.newerChangeRecord])
      return Statement("change_records_take", text)
    }
    takeChangesOfAllBut = takeChanges("tenant <> ALL ($1::int4[])")
    takeChangesOfTenant = takeChanges("tenant = $1::int4")
    takeDistributedChangesOfTenant = takeChanges("tenant = $1::int4", shard: "tenant = $1::int4 AND")
    newerRollups = Statement(
      "rollups_newer",
      sql(
        PackageResources.rollups_newer_sql,
        ["newer_rollup": plan.newerRollup, "newer_change_record": plan.newerChangeRecord]))
  }

  /// What an interaction is read from, as `RecordLayout.interaction` takes it: of each column a bounded part.
  static func selected(
    _ columns: [Column], _ expression: (Column) -> String = { $0.bounded }
  ) -> String {
    let columns = columns.map { column in
      let expression = expression(column)
      return expression == column.name ? expression : "\(expression) AS \(column.name)"
    }
    return (["id"] + columns + ["updated_at"]).joined(separator: ", ")
  }
}

/// The SQL of a file with something in place of each `{name}`.
func sql(_ file: [UInt8], _ values: [String: String]) -> String {
  values.reduce(sqlText(file)) { $0.replacing("{\($1.key)}", with: $1.value) }
}
