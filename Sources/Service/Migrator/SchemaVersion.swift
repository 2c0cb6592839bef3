/// How new a database's schema is, and which versions of Parley may run on it.
///
/// Each migration says how old a binary may be that runs on it, and the database keeps the answer. So an old binary
/// can start on a schema that is newer than itself, as long as it may.
public struct SchemaVersion: Hashable, Sendable {
  /// The newest migration that was applied.
  public var newest: Int32
  /// A binary may run if the newest version it knows is this or a later one.
  public var oldestAllowed: Int32

  public init(newest: Int32, oldestAllowed: Int32) {
    self.newest = newest
    self.oldestAllowed = oldestAllowed
  }

  /// Whether a stored format may be written that only binaries from that version on can read: no older server may
  /// run any more.
  public func allowsFormat(of version: Int32) -> Bool { version <= oldestAllowed }
}

/// What the database tells of its migrations.
struct SchemaState {
  struct Applied {
    var version: Int32
    var checksum: String
    /// nil where a binary applied it that did not know of this column.
    var oldestVersion: Int32?
  }

  struct Progress {
    var version: Int32
    var step: Int
    var text: String
    var isFinished: Bool
  }

  /// A step of a migration.
  struct Place: Equatable {
    var migration: Int
    var step: Int
  }

  var applied: [Applied] = []
  /// Of a migration that is under way.
  var progress: [Progress] = []
  /// Whether the migrator's own tables are there, in their present form.
  var isPrepared = false

  var version: SchemaVersion {
    SchemaVersion(
      newest: applied.map(\.version).max() ?? 0,
      oldestAllowed: applied.map { $0.oldestVersion ?? $0.version }.max() ?? 0)
  }

  /// Why a binary with these migrations may not work with this schema; nil where it may.
  func refusal(knowing migrations: [Migration]) -> String? {
    let (version, known) = (version, migrations.last?.version ?? 0)
    if known < version.oldestAllowed {
      return
        "the database's schema is at version \(version.newest), newer than the \(known) this parley knows, and needs one that knows version \(version.oldestAllowed) or later; run a newer parley"
    }
    for migration in migrations {
      if let applied = applied.first(where: { $0.version == migration.version }),
        applied.checksum != migration.checksum
      {
        return
          "migration \(migration.version) (\(migration.name)) was applied with other text than this parley holds; run the parley that applied it"
      }
    }
    return nil
  }

  func pending(of migrations: [Migration]) -> [Migration] {
    migrations.filter { migration in !applied.contains { $0.version == migration.version } }
  }

  /// The next step; nil where all is done.
  func next(of migrations: [Migration]) -> Place? {
    guard
      let index = migrations.firstIndex(where: { migration in
        !applied.contains { $0.version == migration.version }
      })
    else { return nil }
    let finished = progress.filter { $0.version == migrations[index].version && $0.isFinished }.map(\.step)
    return Place(migration: index, step: (finished.max() ?? -1) + 1)
  }

  /// Where a backfill goes on.
  func progress(of migration: Migration, step: Int) -> String {
    progress.first { $0.version == migration.version && $0.step == step }?.text ?? ""
  }
}
