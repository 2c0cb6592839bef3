import Core
public import Logging
import Postgres

/// Brings the database's schema to what this binary needs, while servers run.
///
/// Several migrators may be at it: each step is done by whoever locks `parley.migrations` in the step's transaction,
/// or holds the lease of migrations for what runs outside one. No lock is waited for longer than `lockTimeout`, for
/// whoever comes behind a lock that waits has to wait, too; the step is tried again after a growing pause. What was
/// done is kept in the database step by step, so that a migration that was broken off goes on where it was.
public struct Migrator: Sendable {
  /// Why the schema cannot be brought to what this binary needs.
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
    /// PostgreSQL was not there; it may be soon.
    public var isConnectionLost = false
  }

  public struct Outcome: Sendable {
    /// The names of the migrations that were finished now.
    public var applied: [String]
    public var schema: SchemaVersion
    /// Whether the tables were distributed now, or what is distributed was brought up to date.
    public var isDistributedNow = false
    /// Said where the schema is newer than this binary, which it allows to run.
    public var notice: String?
  }

  let connection: OwnerConnection
  let watch: LockWatch
  let lease: MigrationLease
  let lockTimeout: Duration
  let logger: Logger
  private let pauseMax: Duration
  private let readerRole: String
  private let onProgress: (@Sendable (String) -> Void)?

  /// - Parameter onProgress: is told, in a line each, of what begins and ends; the log is, where there is none.
  public init(url: String, logger: Logger, onProgress: (@Sendable (String) -> Void)? = nil) {
    self.init(url: url, logger: logger, lockTimeout: .seconds(2), pauseMax: .seconds(15), onProgress: onProgress)
  }

  init(
    url: String, logger: Logger, lockTimeout: Duration, pauseMax: Duration, readerRole: String = "parley_reader",
    onProgress: (@Sendable (String) -> Void)? = nil
  ) {
    // A migration may take as long as it must.
    let configuration = ConnectionConfiguration(url: url, statementTimeout: .zero)
    func owner() -> OwnerConnection { OwnerConnection(configuration, logger: logger) }
    connection = owner()
    // One that looks on while the other works.
    let onlooker = owner()
    watch = LockWatch(onlooker, every: lockTimeout / 5, logger: logger)
    lease = MigrationLease(onlooker)
    self.lockTimeout = lockTimeout
    self.logger = logger
    self.pauseMax = pauseMax
    self.readerRole = readerRole
    self.onProgress = onProgress
  }

  // MARK: What can be asked of it. Each throws `Failure`.

  /// Applies what is missing. Where the tables are distributed over the nodes of Citus, they stay so.
  ///
  /// - Parameter distributing: distribute them where they are not.
  @discardableResult
  public func migrate(distributing: Bool = false) async throws -> Outcome {
    try await migrate(Migration.all, distributing: distributing)
  }

  func migrate(_ migrations: [Migration], distributing: Bool = false) async throws -> Outcome {
    try await closing {
      if distributing,
        let reason = try await ask({ (connection) throws(PostgresError) in
          try connection.whyNotDistributable()
        })
      {
        throw Failure(description: reason)
      }
      var outcome = try await applyAll(migrations)
      if outcome.notice == nil {
        outcome.isDistributedNow = try await distribute(outcome.schema, isAsked: distributing)
      }
      return outcome
    }
  }

  private func distribute(_ version: SchemaVersion, isAsked: Bool) async throws -> Bool {
    let before = try await ask { (connection) throws(PostgresError) in try connection.distribution() }
    if before.comment == nil ? !isAsked : before.isUpToDate(version) { return false }
    return try await insisting("of the distribution") { tag in
      try await ask { [lockTimeout] (connection) throws(PostgresError) in
        let isDone = try connection.inMigrationTransaction(tag, lockTimeout) { (connection) throws(PostgresError) in
          // Another migrator may have been faster.
          if try connection.distribution().isUpToDate(version) { return false }
          try connection.distribute(version)
          return true
        }
        if isDone, before.comment == nil { try connection.endOtherSessions() }
        return isDone
      }
    }
  }

  /// Changes nothing: whether this binary may work with the schema as it is.
  public func check() async throws -> Outcome { try await check(Migration.all) }

  func check(_ migrations: [Migration]) async throws -> Outcome {
    try await closing {
      let state = try await checkedState(migrations)
      guard state.pending(of: migrations).isEmpty else {
        throw Failure(
          description:
            "the database's schema is at version \(state.version.newest); this parley needs version \(migrations.last!.version): run parley migrate"
        )
      }
      return outcome([], state, migrations)
    }
  }

  /// Lets no binary start from now on that does not know the version: afterwards servers may write what only those
  /// can read.
  public func require(_ version: Int32) async throws -> SchemaVersion { try await require(version, Migration.all) }

  func require(_ version: Int32, _ migrations: [Migration]) async throws -> SchemaVersion {
    try await closing {
      let known = min(migrations.last?.version ?? 0, try await checkedState(migrations).version.newest)
      let schema = try await insisting("of the oldest version") { tag in
        try await ask { [lockTimeout] (connection) throws(PostgresError) in
          try connection.inMigrationTransaction(tag, lockTimeout) { (connection) throws(PostgresError) in
            try connection.require(version, known: known)
          }
        }
      }
      guard schema.oldestAllowed == version else {
        throw Failure(
          description:
            "version \(version) cannot be required: allowed are \(schema.oldestAllowed), which is required already, to \(known), which both the schema and this parley have"
        )
      }
      return schema
    }
  }

  /// What `migrate` would do, in lines. Changes nothing.
  public func plan(distributing: Bool = false) async throws -> [String] {
    let lines = try await plan(Migration.all)
    guard distributing else { return lines }
    return try await closing {
      try await ask { (connection) throws(PostgresError) in
        if let reason = try connection.whyNotDistributable() { return lines + ["  not distribute: \(reason)"] }
        return try connection.distribution().comment == nil ? lines + [Distribution.summary] : lines
      }
    }
  }

  func plan(_ migrations: [Migration]) async throws -> [String] {
    try await closing {
      let state = try await checkedState(migrations)
      let pending = state.pending(of: migrations)
      if pending.isEmpty {
        return [
          outcome([], state, migrations).notice ?? "the schema is up to date (version \(state.version.newest))"
        ]
      }
      var lines = ["the schema is at version \(state.version.newest), and would come to \(pending.last!.version):"]
      for migration in pending {
        lines.append(
          "  \(migration.version) \(migration.name); servers that know version \(migration.oldestVersion) go on")
        lines += migration.steps.enumerated().map { index, step in "    \(index + 1). \(step.summary)" }
      }
      return lines
    }
  }

  // MARK: Steps

  private func applyAll(_ migrations: [Migration]) async throws -> Outcome {
    try await prepare()
    var applied: [String] = []
    var begun: SchemaState.Place?
    while true {
      let state = try await checkedState(migrations)
      guard let place = state.next(of: migrations) else { return outcome(applied, state, migrations) }
      let migration = migrations[place.migration]
      let title = migration.title(ofStep: place.step)
      if begun != place, migration.steps.count > 1 { tell("applying \(title)") }
      begun = place
      switch try await insisting(title, { tag in try await take(place, of: migrations, tag) }) {
      case .done(let isFinished):
        guard isFinished else { continue }
        applied.append(migration.name)
        tell("applied migration \(migration.version) (\(migration.name))")
      case .continued(let progress):
        logger.debug("a migration goes on", metadata: ["migration": "\(title)", "progress": "\(progress)"])
      case .overtaken: break
      }
    }
  }

  /// Runs `body` until it has the locks it needs, after growing pauses in which those have them that it held up.
  private func insisting<R>(_ title: String, _ body: (_ tag: String) async throws -> R) async throws -> R {
    var pause = min(.milliseconds(500), pauseMax)
    while true {
      let who: String
      do {
        return try await watch.whoBlocks(title, body)
      } catch let error as LockedOut {
        who = error.who
      }
      logger.warning(
        "a migration waits for a lock and is tried again",
        metadata: ["migration": "\(title)", "for": "\(who)", "pause": "\(pause.wholeMilliseconds) ms"])
      do {
        try await Task.sleep(for: pause * Double.random(in: 0.5...1))
      } catch {
        throw Failure(description: "the migration was broken off while it waited for \(who)")
      }
      pause = min(pause * 2, pauseMax)
    }
  }

  private func take(_ place: SchemaState.Place, of migrations: [Migration], _ tag: String) async throws -> StepOutcome {
    let step = migrations[place.migration].steps[place.step]
    if case .index(let name, _, _) = step {
      try await lease.holding { try await makeIndex(name, step.text, tag) }
      return try await finish(place, of: migrations, tag)
    }
    return try await againAfterInternalErrors {
      try await ask { [lockTimeout] (connection) throws(PostgresError) in
        try connection.inMigrationTransaction(tag, lockTimeout) { (connection) throws(PostgresError) in
          try connection.take(place, of: migrations, tag)
        }
      }
    }
  }

  /// Runs a transaction a few times. Roles are the whole cluster's, and on the nodes of Citus those of all databases there: where
  /// two databases are migrated at once and both grant the readers' role, PostgreSQL may fail one of them with an internal error.
  private func againAfterInternalErrors<R>(_ transaction: () async throws -> R) async throws -> R {
    for _ in 0..<3 {
      do {
        return try await transaction()
      } catch let error as PostgresError where error.sqlState == "XX000" {
        logger.warning("a migration's step is tried again", metadata: ["reason": "\(error.message)"])
        try await Task.sleep(for: min(.milliseconds(200), pauseMax) * Double.random(in: 0.5...1))
      }
    }
    return try await transaction()
  }

  private func makeIndex(_ name: String, _ text: String, _ tag: String) async throws {
    try await ask { (connection) throws(PostgresError) in
      let valid = try connection.script(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('parley.\(name)')"
      ).first?[0]
      if valid == "t" { return }
      if valid != nil { try connection.script("\(tag)DROP INDEX CONCURRENTLY parley.\(name)") }
      try connection.script(tag + text)
    }
  }

  private func finish(
    _ place: SchemaState.Place, of migrations: [Migration], _ tag: String
  ) async throws -> StepOutcome {
    try await ask { [lockTimeout] (connection) throws(PostgresError) in
      try connection.inMigrationTransaction(tag, lockTimeout) { (connection) throws(PostgresError) in
        guard try connection.schemaState().next(of: migrations) == place else { return .overtaken }
        return try connection.finish(place, of: migrations)
      }
    }
  }

  /// Makes the migrator's own tables, or gives them what they lack. Many may be at it, and meet each other.
  private func prepare() async throws {
    try await insisting("of the migrator's own tables") { tag in
      do throws(PostgresError) {
        try await ask { [lockTimeout] (connection) throws(PostgresError) in
          if try !connection.schemaState().isPrepared { try connection.prepareMigrations(tag, lockTimeout) }
        }
      } catch {
        guard error.isOfMigratorsMeeting else { throw error }
        throw LockedOut(who: "another migrator: \(error.message)")
      }
    }
  }

  private func checkedState(_ migrations: [Migration]) async throws -> SchemaState {
    let state = try await ask { (connection) throws(PostgresError) in try connection.schemaState() }
    if let refusal = state.refusal(knowing: migrations) { throw Failure(description: refusal) }
    return state
  }

  private func outcome(_ applied: [String], _ state: SchemaState, _ migrations: [Migration]) -> Outcome {
    let (version, known) = (state.version, migrations.last?.version ?? 0)
    var outcome = Outcome(applied: applied, schema: version)
    if version.newest > known {
      outcome.notice =
        "the database's schema is at version \(version.newest), newer than the \(known) this parley knows; it allows version \(version.oldestAllowed) and later"
    }
    return outcome
  }

  // MARK: Helpers

  private func tell(_ line: String) {
    if let onProgress { onProgress(line) } else { logger.info("\(line)") }
  }

  private func ask<R: Sendable>(
    _ body: @Sendable (Session) throws(PostgresError) -> R
  ) async throws(PostgresError) -> R {
    try await connection.run(body).get()
  }

  private func closing<R>(_ body: () async throws -> R) async throws -> R {
    let result: Result<R, any Error>
    do {
      result = .success(try await body())
    } catch let error as PostgresError {
      result = .failure(Failure(description: await words(of: error), isConnectionLost: error.isConnectionLost))
    } catch {
      result = .failure(error)
    }
    await connection.close()
    await watch.close()
    return try result.get()
  }

  private func words(of error: PostgresError) async -> String {
    guard error.isRightMissing else { return error.message }
    let missing = try? await ask { [readerRole] (connection) throws(PostgresError) in
      try connection.missingRight(readerRole: readerRole)
    }
    return missing ?? error.message
  }
}
