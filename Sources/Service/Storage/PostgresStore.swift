import Core
public import Logging
public import Postgres

/// Interactions in PostgreSQL. Owns every connection; `run()` works until `close()`. What it does for a feature is an
/// extension in the feature's folder.
public final class PostgresStore: Sendable {
  public struct Configuration: Sendable {
    /// A connection URI or keyword string, as libpq reads it.
    public var url: String
    public var connections: ConnectionBudget
    public var statementTimeout: Duration
    /// How much longer PostgreSQL may say nothing before a connection is given up.
    var grace = Duration.seconds(5)
    /// How long a read may hold a connection before it counts as one that scans rows.
    package var keyedReadMax = Duration.milliseconds(Limits.keyedReadMillisecondsMax)
    /// How long a read waits on its connection for what others have locked.
    package var readLockMax = Duration.milliseconds(Limits.readLockMillisecondsMax)
    /// How long a batch may take before its writer counts as stuck.
    var batchMax = Duration.seconds(Limits.batchSecondsMax)
    /// How long every batch may fail before recording counts as broken.
    var failingMax = Duration.seconds(Limits.recordingFailingSecondsMax)
    public var preparedStatements = PreparedStatements.auto
    /// How long a record waits for what others have locked in PostgreSQL.
    public var lockMax = Duration.milliseconds(Limits.recordLockMillisecondsMax)

    public init(
      url: String, connections: ConnectionBudget = .standard, statementTimeout: Duration = .seconds(30)
    ) {
      self.url = url
      self.connections = connections
      self.statementTimeout = statementTimeout
    }
  }

  let numbers = TenantNumbers()
  let tenants: TenantRegistry
  let partitions: PartitionManager
  let recorder: Recorder
  private let jobs: JobRunner
  let readers: ReaderPool
  let lookup: InteractionLookup
  private let probe: DatabaseProbe
  private let keyedReadMax: Duration
  private let batchMax: Duration
  let exactStatsInteractionsMax: Int
  let smallTenants = SmallTenants()
  let layout: RecordLayout
  let pageHints = PageHints()

  public convenience init(_ configuration: Configuration, logger: Logger) {
    self.init(configuration, exactStatsInteractionsMax: Limits.exactStatsInteractionsMax, logger: logger)
  }

  /// - Parameter exactStatsInteractionsMax: that many are read as rows, for their exact percentiles.
  init(
    _ configuration: Configuration, exactStatsInteractionsMax: Int, layout: RecordLayout = .standard, logger: Logger
  ) {
    self.layout = layout
    self.exactStatsInteractionsMax = exactStatsInteractionsMax
    keyedReadMax = configuration.keyedReadMax
    batchMax = configuration.batchMax
    let connection = ConnectionConfiguration(
      url: configuration.url, statementTimeout: configuration.statementTimeout,
      grace: configuration.grace, preparedStatements: configuration.preparedStatements,
      readLockMax: configuration.readLockMax)
    func owner() -> OwnerConnection { OwnerConnection(connection, logger: logger) }
    let (numbers, shared) = (numbers, owner())
    let partitions = PartitionManager(shared, lockMax: configuration.lockMax)
    tenants = TenantRegistry(shared, numbers, lockMax: configuration.lockMax)
    self.partitions = partitions
    let (takenKeys, lockedRows) = (TakenKeys(), LockedRows())
    let budget = configuration.connections
    let readers = ReaderPool(connection, count: budget.readers, scansMax: budget.scansMax, logger: logger)
    self.readers = readers
    recorder = Recorder(
      writers: (0..<budget.writers).map { _ in
        BatchWriter(
          owner(), partitions: partitions, numbers: numbers, layout: layout, takenKeys: takenKeys,
          lockedRows: lockedRows,
          lockMax: configuration.lockMax, logger: logger)
      }, layout: layout, failingMax: configuration.failingMax, readTimeOfOthers: { readers.readTime(besides: $0) })
    let (rollups, putOff, watch) = (owner(), PutOffTenants(logger: logger), LeaseWatch(logger: logger))
    jobs = JobRunner(
      [
        .init(PartitionJob(partitions, watch: watch), on: shared),
        .init(RollupJob(putOff, layout: layout, watch: watch, logger: logger), on: rollups),
        .init(RebuildJob(putOff, layout: layout, watch: watch, logger: logger), on: rollups),
      ], logger: logger)
    probe = DatabaseProbe(url: configuration.url, logger: logger)
    // Fewer than readers, so that gets come together and lists are not kept from a connection.
    lookup = InteractionLookup(
      readers, numbers, layout, concurrency: max(1, budget.readers / 2), keyedReadMax: configuration.keyedReadMax)
  }

  /// Writes what is recorded, and runs the jobs, until `close()`.
  public func run() async {
    await withTaskGroup { group in
      group.addTask { await self.readers.connectOne() }
      await withTaskGroup { working in
        working.addTask { await self.jobs.run() }
        await recorder.run()
        // The last batches have left change records, which the rollup job still merges.
        jobs.stop()
      }
      group.cancelAll()
    }
  }

  /// No further interactions are taken; `run()` ends once those that wait are written.
  public func close() {
    recorder.close()
  }

  /// Whether the database is fit to serve now. It is known within `Limits.healthCheckSecondsMax`.
  public func databaseState() async -> DatabaseState {
    if let longest = recorder.longestWrite, longest > batchMax {
      return .unfit("a batch has been written for \(longest.components.seconds) s", isCertain: true)
    }
    if let fault = recorder.fault { return .unfit(fault, isCertain: true) }
    return await probe.look()
  }

  /// Most reads go by keys and sums and end soon. One that does not reads through rows: it is stopped, and begins
  /// again among its like, so that the others do not wait for it. (One that waits for a lock has ended before.)
  ///
  /// - Returns: nil for a tenant that has never recorded anything.
  func read<R: Sendable>(
    of tenant: Tenant,
    _ body: @Sendable (ReaderSession, NumberedTenant) throws(PostgresError) -> R
  ) async throws(RPCError) -> R? {
    let quick = try await readers.read(of: tenant, .list) {
      [keyedReadMax, numbers] (connection) throws(PostgresError) in
      try connection.within(keyedReadMax) { (connection) throws(PostgresError) in
        try connection.reading(tenant, numbers, body)
      }
    }
    if let quick { return quick }
    return try await readers.read(of: tenant, .scan) { [numbers] (connection) throws(PostgresError) in
      try connection.reading(tenant, numbers, body)
    }
  }
}
