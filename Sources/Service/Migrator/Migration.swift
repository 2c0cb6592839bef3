import Crypto

/// What leads from one version of the schema to the next.
///
/// Servers of the version before go on while a migration runs and afterwards, so a migration only expands: new
/// tables, new columns with defaults, functions that do at least what they did. What no server needs any more is
/// removed by a later migration, whose `oldestVersion` shuts the servers out that still need it.
struct Migration {
  enum Step {
    /// SQL in one transaction. `locks` tells an operator what others cannot do meanwhile.
    case transaction(String, locks: String)
    /// CREATE INDEX CONCURRENTLY, outside a transaction, while the table is read and written. An invalid index,
    /// which a broken-off try leaves, is dropped first.
    case index(name: String, table: String, definition: String)
    /// SQL that changes some rows at a time, each time in a transaction of its own, until it says it is done. It
    /// reads where to go on from the setting `parley.progress`, which is empty at first, and ends with one row:
    /// where to go on the next time, as text, and whether it is done.
    case backfill(String, locks: String)
  }

  var version: Int32
  var name: String
  /// The oldest version that a binary must know to run on a schema with this migration.
  var oldestVersion: Int32
  var steps: [Step]

  init(version: Int32, name: String, oldestVersion: Int32, steps: [Step]) {
    self.version = version
    self.name = name
    self.oldestVersion = oldestVersion
    self.steps = steps
  }

  /// A migration that is one transaction.
  init(version: Int32, name: String, oldestVersion: Int32, _ text: [UInt8], locks: String) {
    self.init(
      version: version, name: name, oldestVersion: oldestVersion,
      steps: [.transaction(String(decoding: text, as: UTF8.self), locks: locks)])
  }

  var checksum: String {
    let text = steps.map(\.text).joined(separator: "\n-- The next step:\n")
    return SHA256.hash(data: Array(text.utf8)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  func title(ofStep index: Int) -> String {
    steps.count == 1 ? "\(version) \(name)" : "\(version) \(name), step \(index + 1) of \(steps.count)"
  }
}

extension Migration.Step {
  var text: String {
    switch self {
    case .transaction(let text, _), .backfill(let text, _): text
    case .index(let name, let table, let definition):
      "CREATE INDEX CONCURRENTLY \(name) ON \(table) \(definition)"
    }
  }

  /// For `parley migrate --plan`.
  var summary: String {
    switch self {
    case .transaction(_, let locks): "in one transaction; locks \(locks)"
    case .backfill(_, let locks): "some rows at a time, each time in a transaction; locks \(locks)"
    case .index(let name, let table, _):
      "makes the index \(name) of \(table) outside a transaction; locks the table against other changes of the schema alone"
    }
  }
}

extension Migration {
  /// In order. A migration that was released is never changed: its checksum is in databases.
  static let all = [
    Migration(
      version: 1, name: "interactions", oldestVersion: 1, PackageResources.v0001_interactions_sql,
      locks: "nothing that exists"),
    Migration(
      version: 2, name: "rollups", oldestVersion: 2, PackageResources.v0002_rollups_sql,
      locks: "interactions against writes"),
    Migration(
      version: 3, name: "postings", oldestVersion: 3, PackageResources.v0003_postings_sql,
      locks: "interactions against writes, deltas against everything"),
    Migration(
      version: 4, name: "changes", oldestVersion: 4, PackageResources.v0004_changes_sql,
      locks: "interactions and its partitions against everything, for a moment"),
    Migration(
      version: 5, name: "leases", oldestVersion: 4, PackageResources.v0005_leases_sql, locks: "nothing that exists"),
    Migration(
      version: 6, name: "tenants", oldestVersion: 4, PackageResources.v0006_tenants_sql, locks: "nothing that exists"),
    Migration(
      version: 7, name: "stale_hours", oldestVersion: 4, PackageResources.v0007_stale_hours_sql,
      locks: "deltas against writes, for a moment"),
    Migration(
      version: 9, name: "clock", oldestVersion: 4, PackageResources.v0009_clock_sql,
      locks: "interactions and its partitions against everything, for a moment"),
    Migration(
      version: 10, name: "begin_recording", oldestVersion: 4, PackageResources.v0010_begin_recording_sql,
      locks: "nothing that exists"),
    Migration(
      version: 11, name: "add_tenant", oldestVersion: 4, PackageResources.v0011_add_tenant_sql,
      locks: "nothing that exists"),
  ]
}
