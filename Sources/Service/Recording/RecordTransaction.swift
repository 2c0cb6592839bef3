import Core
import Crypto
import Postgres

/// What became of a row with a key of its own.
enum WrittenRow: Sendable {
  case inserted
  /// Its key was taken, by this.
  case found(ContentHash)
  /// The database refuses this row.
  case refused(RPCError)
  /// The database could not write, whatever the row.
  case failed(WriteFailure)
}

/// Stands for an interaction's content, which may be long: equal for equal content alone.
struct ContentHash: Equatable, Sendable {
  private let digest: SHA256Digest

  init(_ encoded: EncodedInteraction) {
    digest = SHA256.hash(data: encoded.compared)
  }
}

/// Writes rows with their change records, all or none of them, in one transaction.
struct RecordTransaction {
  private let session: Session
  private let layout: RecordLayout
  /// How long it waits for what others have locked.
  private let lockMax: Duration

  /// From so many rows on, COPY's three messages to and fro cost less than an INSERT's parsing for each row.
  private static let copyRowsMin = 24
  /// So many interactions are in memory at a time while keys are looked up.
  private static let keysPerLook = 64

  init(on session: Session, _ layout: RecordLayout, lockMax: Duration) {
    self.session = session
    self.layout = layout
    self.lockMax = lockMax
  }

  /// Inserts the rows whose keys are free. A key that is taken, of a row that was not asked for, makes it fail.
  func record(
    _ rows: [RecordRow], askingFor suspects: [RecordRow], isInserted: Bool
  ) throws(PostgresError) -> [WrittenRow] {
    let found = suspects.isEmpty ? [:] : try find(suspects)
    let free = found.isEmpty ? rows : rows.filter { found[$0.key] == nil }
    if free.count >= Self.copyRowsMin, !isInserted { try copy(free) } else if !free.isEmpty { try insert(free) }
    return rows.map { row in found.isEmpty ? .inserted : found[row.key].map { .found($0) } ?? .inserted }
  }

  /// What holds those of the keys that are taken.
  private func find(_ rows: [RecordRow]) throws(PostgresError) -> [RecordRow.Key: ContentHash] {
    let isDistributed = try session.isDistributed
    let find = isDistributed ? layout.statements.findOfOne : layout.statements.find
    let commands = (isDistributed ? rows.byTenant : [rows]).flatMap { $0.pieces(of: Self.keysPerLook) }.map { some in
      let ids = some.map(\.id)
      return Command(find(in: Months(covering: ids.min()!...ids.max()!))) {
        $0.add(some.map(\.key.tenant))
        $0.add(ids)
      }
    }
    var found: [RecordRow.Key: ContentHash] = [:]
    try session.pipeline([.beginRecording(rows.tenants, lockMax)] + commands) { (place, rows) throws(PostgresError) in
      for row in rows where place > 0 {
        let interaction = try layout.interaction(row)
        let tenant = TenantKey(rawValue: try row.int32(layout.selectedCount))
        found[RecordRow.Key(tenant: tenant.rawValue, id: interaction.id)] = ContentHash(
          layout.encoded(interaction, tenant: tenant))
      }
    }
    return found
  }

  /// Copies the rows, all of them new, and their change records.
  private func copy(_ rows: [RecordRow]) throws(PostgresError) {
    var interactions = CopyRows(layout.statements.copy)
    for row in rows { interactions.append(row.encoded.values) }
    var changeRecords = CopyRows(copyChangeRecords)
    for (tenant, entries) in entries(of: rows) {
      var values = Parameters()
      values.add(tenant.rawValue)
      values.add(entries.bytes)
      changeRecords.append(values)
    }
    try session.copy([interactions, changeRecords], after: beginRecordingText(rows.tenants, lockMax))
  }

  /// Inserts the rows, all of them new, and their change records.
  private func insert(_ rows: [RecordRow]) throws(PostgresError) {
    let (entries, isDistributed) = (entries(of: rows), try session.isDistributed)
    if rows.count == 1, !isDistributed {
      _ = try session.run(
        Command(layout.statements.record) {
          $0.append(rows[0].encoded.values)
          $0.add(rows[0].tenantName.description)
          $0.add(entries[rows[0].tenant]!.bytes)
          $0.add(lockMax.setting)
        })
      return
    }
    let changes = Command.addChanges(entries, of: rows.tenants, lockMax, isDistributed: isDistributed)
    let inserts = isDistributed ? rows.byTenant.flatMap(inserts) : inserts(of: rows)
    _ = try session.pipeline([Command(.begin)] + changes + inserts + [Command(.commit)])
  }

  private func inserts(of rows: [RecordRow]) -> [Command] {
    var commands: [Command] = []
    var remaining = rows[...]
    for (count, statement) in layout.statements.inserts {
      while remaining.count >= count {
        commands.append(
          Command(statement) { parameters in
            for row in remaining.prefix(count) { parameters.append(row.encoded.values) }
          })
        remaining = remaining.dropFirst(count)
      }
    }
    return commands + remaining.map { Command(layout.statements.insert, $0.encoded.values) }
  }

  private func entries(of rows: [RecordRow]) -> [TenantKey: ChangeRecordWriter] {
    rows.reduce(into: [:]) { $0[$1.tenant, default: ChangeRecordWriter(layout.plan)].append($1.entry) }
  }
}
