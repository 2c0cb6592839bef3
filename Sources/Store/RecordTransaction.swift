import Crypto
import Domain
import Postgres

/// What became of a row with a key of its own.
enum WrittenRow: Sendable {
  case inserted
  /// Its key was taken, by this.
  case found(ContentHash)
  /// The database refuses this row.
  case refused(RPCError)
  /// The database could not write, whatever the row.
  case failed(RPCError)
}

/// Stands for an interaction's content, which may be long: equal for equal content alone.
struct ContentHash: Equatable, Sendable {
  private let digest: SHA256Digest

  init(_ values: Parameters) {
    digest = SHA256.hash(data: values.bytes)
  }
}

extension Statement {
  fileprivate static let findInteractions = StatementOfMonths(
    "interactions_find", BoundedColumns.fill(PackageResources.interactions_find_sql))

  fileprivate static func findInteractions(_ rows: some Collection<RecordRow>, isDistributed: Bool) -> Statement {
    let ids = rows.map(\.id)
    let statement = findInteractions(in: Months(covering: ids.min()!...ids.max()!))
    return isDistributed ? statement.aboutOneTenant : statement
  }
}

extension Session {
  /// From so many rows on, COPY's three messages to and fro cost less than an INSERT's parsing for each row.
  private static var copyRowsMin: Int { 24 }
  /// So many interactions are in memory at a time while keys are looked up.
  private static var keysPerLook: Int { 64 }

  /// Inserts the rows whose keys are free, with their deltas, in one transaction. A key that is taken, of a row that
  /// was not asked for, makes it fail.
  func record(
    _ rows: [RecordRow], askingFor suspects: [RecordRow], isInserted: Bool, lockMax: Duration
  ) throws(PostgresError) -> [WrittenRow] {
    let found = suspects.isEmpty ? [:] : try find(suspects, lockMax)
    let free = found.isEmpty ? rows : rows.filter { found[$0.key] == nil }
    if free.count >= Self.copyRowsMin, !isInserted {
      try copy(free, lockMax)
    } else if !free.isEmpty {
      try insert(free, lockMax)
    }
    return rows.map { row in found.isEmpty ? .inserted : found[row.key].map { .found($0) } ?? .inserted }
  }

  /// What holds those of the keys that are taken.
  private func find(_ rows: [RecordRow], _ lockMax: Duration) throws(PostgresError) -> [RecordRow.Key: ContentHash] {
    let isDistributed = try isDistributed
    let commands = (isDistributed ? rows.byTenant : [rows]).flatMap { $0.pieces(of: Self.keysPerLook) }.map { some in
      Command(.findInteractions(some, isDistributed: isDistributed)) {
        $0.add(some.map(\.key.tenant))
        $0.add(some.map(\.id))
      }
    }
    var found: [RecordRow.Key: ContentHash] = [:]
    try pipeline([.beginRecording(rows.tenants, lockMax)] + commands) { (place, rows) throws(PostgresError) in
      for row in rows where place > 0 {
        let interaction = try Interaction(row)
        let tenant = TenantKey(rawValue: try row.int32(Interaction.columns))
        found[RecordRow.Key(tenant: tenant.rawValue, id: interaction.id)] = ContentHash(
          Parameters(interaction, tenant: tenant))
      }
    }
    return found
  }

  /// Copies the rows, all of them new, and their deltas, in one transaction.
  private func copy(_ rows: [RecordRow], _ lockMax: Duration) throws(PostgresError) {
    var interactions = CopyRows(copyInteractions)
    for row in rows { interactions.append(row.values) }
    var deltas = CopyRows(copyDeltas)
    for (tenant, facts) in facts(of: rows) {
      var values = Parameters()
      values.add(tenant.rawValue)
      values.add(facts.bytes)
      deltas.append(values)
    }
    try copy([interactions, deltas], after: beginRecordingText(rows.tenants, lockMax))
  }

  /// Inserts the rows, all of them new, and their deltas, in one transaction.
  private func insert(_ rows: [RecordRow], _ lockMax: Duration) throws(PostgresError) {
    let (facts, isDistributed) = (facts(of: rows), try isDistributed)
    if rows.count == 1, !isDistributed {
      _ = try run(
        Command(.recordInteraction) {
          $0.append(rows[0].values)
          $0.add(rows[0].tenantName.description)
          $0.add(facts[rows[0].tenant]!.bytes)
          $0.add(lockMax.setting)
        })
      return
    }
    let changes = Command.addChanges(facts, of: rows.tenants, lockMax, isDistributed: isDistributed)
    let inserts = isDistributed ? rows.byTenant.flatMap(inserts) : inserts(of: rows)
    _ = try pipeline([Command(.begin)] + changes + inserts + [Command(.commit)])
  }

  private func inserts(of rows: [RecordRow]) -> [Command] {
    var commands: [Command] = []
    var remaining = rows[...]
    for (count, statement) in Statement.insertInteractions {
      while remaining.count >= count {
        commands.append(
          Command(statement) { parameters in for row in remaining.prefix(count) { parameters.append(row.values) } })
        remaining = remaining.dropFirst(count)
      }
    }
    return commands + remaining.map { Command(.insertInteraction, $0.values) }
  }

  private func facts(of rows: [RecordRow]) -> [TenantKey: FactsWriter] {
    rows.reduce(into: [:]) { $0[$1.tenant, default: FactsWriter()].append($1.fact) }
  }
}
