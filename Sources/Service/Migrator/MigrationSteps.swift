import Postgres

/// How far a try of a step came.
enum StepOutcome {
  /// The step, and with it the migration, if it was the last.
  case done(isFinished: Bool)
  /// A backfill has more to do.
  case continued(String)
  /// Another migrator was faster.
  case overtaken
}

extension PostgresError {
  /// A lock was not to be had in time, or whoever waited for another was chosen to give way.
  var isLockedOut: Bool {
    if case .refused(let state) = kind { ["55P03", "40P01", "40001"].contains(state) } else { false }
  }

  /// Two made the same table, column or schema.
  var isOfMigratorsMeeting: Bool {
    guard case .refused(let state) = kind else { return false }
    return isLockedOut || ["23505", "42P06", "42P07", "42701"].contains(state)
  }
}

extension Migrator {
  /// Those it keeps its own state in.
  static let tables = """
    CREATE SCHEMA IF NOT EXISTS parley;
    CREATE TABLE IF NOT EXISTS parley.migrations (
      version int PRIMARY KEY,
      name text NOT NULL,
      checksum text NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now()
    );
    -- The oldest version that a binary must know to run on a schema with this migration; NULL: this one.
    ALTER TABLE parley.migrations ADD COLUMN IF NOT EXISTS oldest_version int;
    -- The steps of a migration that is under way.
    CREATE TABLE IF NOT EXISTS parley.migration_steps (
      version int,
      step int,
      progress text NOT NULL DEFAULT '',
      finished_at timestamptz,
      PRIMARY KEY (version, step)
    );
    """

  /// Tells this binary's schema from every other: for what keeps a migrated database.
  package static var fingerprint: String {
    let texts = Migration.all.map(\.checksum) + [tables]
    return Migration(
      version: 0, name: "all", oldestVersion: 0, steps: [.transaction(texts.joined(), locks: "")]
    ).checksum
  }
}

extension Session {
  func schemaState() throws(PostgresError) -> SchemaState {
    let there = try script(
      """
      SELECT to_regclass('parley.migrations') IS NOT NULL,
        EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('parley.migrations') AND attname = 'oldest_version'),
        to_regclass('parley.migration_steps') IS NOT NULL
      """)[0]
    var state = SchemaState()
    state.isPrepared = there == ["t", "t", "t"]
    if there[0] != "t" { return state }
    let oldest = there[1] == "t" ? "oldest_version" : "NULL"
    for row in try script("SELECT version, checksum, \(oldest) FROM parley.migrations") {
      state.applied.append(
        .init(version: try number(row[0]), checksum: row[1] ?? "", oldestVersion: try row[2].map(number)))
    }
    if there[2] != "t" { return state }
    for row in try script("SELECT version, step, progress, finished_at IS NOT NULL FROM parley.migration_steps") {
      state.progress.append(
        .init(
          version: try number(row[0]), step: Int(try number(row[1])), text: row[2] ?? "", isFinished: row[3] == "t"))
    }
    return state
  }

  private func number(_ text: String?) throws(PostgresError) -> Int32 {
    guard let number = text.flatMap({ Int32($0) }) else {
      throw PostgresError(kind: .unexpectedResponse, message: "parley.migrations holds a number that is none")
    }
    return number
  }

  func prepareMigrations(_ tag: String, _ lockTimeout: Duration) throws(PostgresError) {
    try rollingBack { (connection) throws(PostgresError) in
      _ = try connection.script(
        "\(tag)BEGIN; SET LOCAL lock_timeout = \(lockTimeout.wholeMilliseconds); \(Migrator.tables) COMMIT;")
    }
  }

  /// Runs `body` in a transaction that holds the migrators' lock: one of them at a time. It waits for no lock
  /// longer than `lockTimeout`.
  func inMigrationTransaction<R>(
    _ tag: String, _ lockTimeout: Duration,
    _ body: @Sendable (Session) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    try rollingBack { (connection) throws(PostgresError) in
      try connection.script(
        """
        \(tag)BEGIN;
        SET LOCAL lock_timeout = \(lockTimeout.wholeMilliseconds);
        SET LOCAL statement_timeout = 0;
        LOCK TABLE parley.migrations IN SHARE UPDATE EXCLUSIVE MODE;
        """)
      let result = try body(connection)
      try connection.script("COMMIT")
      return result
    }
  }

  private func rollingBack<R>(
    _ body: @Sendable (Session) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    do throws(PostgresError) {
      return try body(self)
    } catch {
      if case .refused = error.kind {
        do throws(PostgresError) { try script("ROLLBACK") } catch { close() }
      } else {
        close()
      }
      throw error
    }
  }

  /// Writes which version a binary must know, unless that is not allowed. Within the migrators' lock.
  ///
  /// - Returns: how it is afterwards.
  func require(_ version: Int32, known: Int32) throws(PostgresError) -> SchemaVersion {
    let schema = try schemaState().version
    guard schema.oldestAllowed <= version, version <= known else { return schema }
    try script("UPDATE parley.migrations SET oldest_version = \(version) WHERE version = \(schema.newest)")
    return try schemaState().version
  }

  /// Takes a step that is the next one, within the migrators' lock.
  func take(
    _ place: SchemaState.Place, of migrations: [Migration], _ tag: String
  ) throws(PostgresError) -> StepOutcome {
    let state = try schemaState()
    guard state.next(of: migrations) == place else { return .overtaken }
    let migration = migrations[place.migration]
    switch migration.steps[place.step] {
    case .index: break
    case .transaction(let text, _): try script(tag + text)
    case .backfill(let text, _):
      let progress = state.progress(of: migration, step: place.step)
      try script("SELECT set_config('parley.progress', \(sqlLiteral(progress)), true)")
      let rows = try script(tag + text)
      guard rows.count == 1, rows[0].count == 2, let next = rows[0][0] else {
        throw PostgresError(
          kind: .unexpectedResponse, message: "a backfill says neither where to go on nor that it is done")
      }
      if rows[0][1] != "t" {
        try script(
          """
          INSERT INTO parley.migration_steps (version, step, progress)
          VALUES (\(migration.version), \(place.step), \(sqlLiteral(next)))
          ON CONFLICT (version, step) DO UPDATE SET progress = EXCLUDED.progress
          """)
        return .continued(next)
      }
    }
    return try finish(place, of: migrations)
  }

  /// Writes that the step is done, within the migrators' lock.
  func finish(_ place: SchemaState.Place, of migrations: [Migration]) throws(PostgresError) -> StepOutcome {
    let migration = migrations[place.migration]
    guard place.step == migration.steps.count - 1 else {
      try script(
        """
        INSERT INTO parley.migration_steps (version, step, finished_at) VALUES (\(migration.version), \(place.step), now())
        ON CONFLICT (version, step) DO UPDATE SET finished_at = EXCLUDED.finished_at
        """)
      return .done(isFinished: false)
    }
    try script(
      """
      DELETE FROM parley.migration_steps WHERE version = \(migration.version);
      INSERT INTO parley.migrations (version, name, checksum, oldest_version)
      VALUES (\(migration.version), \(sqlLiteral(migration.name)), '\(migration.checksum)', \(migration.oldestVersion));
      """)
    return .done(isFinished: true)
  }
}
