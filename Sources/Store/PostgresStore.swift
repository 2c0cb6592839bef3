public import Domain
public import Logging

/// Interactions in PostgreSQL. Owns every connection; `run()` works until `close()`.
public final class PostgresStore: InteractionStore {
  public struct Configuration: Sendable {
    /// A connection URI or keyword string, as libpq reads it.
    public var url: String
    /// How many reads run at once.
    public var readers: Int
    /// How many batches are written at once.
    var writers = 2
    public var statementTimeout: Duration

    public init(url: String, readers: Int = 4, statementTimeout: Duration = .seconds(30)) {
      self.url = url
      self.readers = readers
      self.statementTimeout = statementTimeout
    }
  }

  private let numbers = TenantNumbers()
  private let catalog: Catalog
  private let recorder: Recorder
  private let folder: DeltaFolder
  private let readers: ReaderPool
  private let lookup: InteractionLookup
  private let exactStatsInteractionsMax: Int
  private let logger: Logger

  public convenience init(_ configuration: Configuration, logger: Logger) {
    self.init(configuration, exactStatsInteractionsMax: Limits.exactStatsInteractionsMax, logger: logger)
  }

  /// - Parameter exactStatsInteractionsMax: that many are read as rows, for their exact percentiles.
  init(_ configuration: Configuration, exactStatsInteractionsMax: Int, logger: Logger) {
    self.exactStatsInteractionsMax = exactStatsInteractionsMax
    let connection = PostgresConnection.Configuration(
      url: configuration.url, statementTimeout: configuration.statementTimeout)
    func owner() -> PostgresConnection { PostgresConnection(connection, purpose: .owner, logger: logger) }
    let (numbers, catalog) = (numbers, Catalog(owner(), numbers))
    self.catalog = catalog
    recorder = Recorder(
      writers: (0..<configuration.writers).map { _ in
        BatchWriter(owner(), catalog: catalog, numbers: numbers, logger: logger)
      })
    folder = DeltaFolder(owner(), logger: logger)
    readers = ReaderPool(connection, count: configuration.readers, logger: logger)
    // Fewer than readers, so that gets come together and lists are not kept from a connection.
    lookup = InteractionLookup(readers, numbers, concurrency: max(1, configuration.readers / 2))
    self.logger = logger
  }

  /// Writes what is recorded, and makes the partitions of the coming months, until `close()`.
  public func run() async {
    await withTaskGroup { group in
      group.addTask { await self.makePartitionsAhead() }
      await withTaskGroup { folding in
        folding.addTask { await self.folder.run() }
        await recorder.run()
        folder.close()
      }
      group.cancelAll()
    }
  }

  /// No further interactions are taken; `run()` ends once those that wait are written.
  public func close() {
    recorder.close()
  }

  /// Whether PostgreSQL answers now.
  public func isReachable() async -> Bool {
    await catalog.isReachable()
  }

  /// Keeps this month's partition and the next two in being, so that no call has to wait for one.
  private func makePartitionsAhead() async {
    while !Task.isCancelled {
      let now = Timestamp.now
      let months: [Int64] = [0, 31, 62]
      do throws(RPCError) {
        try await catalog.ensurePartitions(for: months.map { now + $0 * .millisecondsPerDay })
        try? await Task.sleep(for: .seconds(3600))
      } catch {
        logger.warning("no partitions made ahead", metadata: ["reason": "\(error.cause ?? error.message)"])
        try? await Task.sleep(for: .seconds(10))
      }
    }
  }

  public func record(
    _ interactions: [Interaction], for tenant: Tenant, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (RecordOutcome) -> Void
  ) -> Cancellation {
    if let key = numbers.hint(for: tenant) {
      return recorder.record(
        interactions, tenant: NumberedTenant(key: key, name: tenant), on: executor, answer: answer)
    }
    return answered(on: executor, answer) { [catalog, recorder] () throws(RPCError) in
      let numbered = NumberedTenant(key: try await catalog.add(tenant), name: tenant)
      return try await awaited { recorder.record(interactions, tenant: numbered, on: $0, answer: $1) }
    }
  }

  public func interaction(
    _ id: InteractionID, of tenant: Tenant, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (Result<Interaction?, RPCError>) -> Void
  ) -> Cancellation {
    lookup.interaction(id, tenant: tenant, on: executor, answer: answer)
  }

  /// For a tenant's first record, which waits for its number.
  private func answered<A: Sendable>(
    on executor: any AnswerExecutor, _ answer: @escaping @Sendable (Result<A, RPCError>) -> Void,
    _ work: @escaping @Sendable () async throws(RPCError) -> A
  ) -> Cancellation {
    let task = Task {
      let result: Result<A, RPCError>
      do throws(RPCError) { result = .success(try await work()) } catch { result = .failure(error) }
      executor.execute { answer(result) }
    }
    return { task.cancel() }
  }

  public func page(
    _ query: ListInteractions.Checked, of tenant: Tenant
  ) async throws(RPCError) -> (interactions: [Interaction], more: Bool) {
    let page = try await readers.read { [numbers] (connection) throws(PostgresError) in
      try connection.reading(tenant, numbers) { (connection, tenant) throws(PostgresError) in
        try PageReader(query, tenant: tenant).page(on: connection)
      }
    }
    return page ?? ([], false)
  }

  public func stats(_ query: GetStats.Checked, of tenant: Tenant) async throws(RPCError) -> StatsReport {
    let exactUpTo = exactStatsInteractionsMax
    let report = try await readers.read { [numbers] (connection) throws(PostgresError) in
      try connection.reading(tenant, numbers) { (connection, tenant) throws(PostgresError) in
        if let reader = StatsReader(query, tenant: tenant.key) {
          let report = try connection.read(tenant: tenant, plan: .keyed) { (connection) throws(PostgresError) in
            try reader.report(on: connection, exactUpTo: exactUpTo)
          }
          if let report { return report }
        }
        return try connection.read(tenant: tenant) { (connection) throws(PostgresError) in
          try connection.statsOfRows(query, tenant: tenant.key)
        }
      }
    }
    return report ?? StatsReport(start: query.start, end: query.end)
  }
}

extension PostgresConnection {
  /// The statistics as the rows alone tell them, by plain SQL: exact, at the price of reading every row.
  func statsOfRows(_ query: GetStats.Checked, tenant: TenantKey) throws(PostgresError) -> StatsReport {
    let rows = try run(
      Command(.interactionStats) {
        $0.add(
          query.filter, tenant: tenant, from: InteractionID(lowerBound: query.start),
          upTo: InteractionID(lowerBound: query.end))
        $0.add(query.interval?.milliseconds)
        $0.add(Int64(Limits.statsGroupsMax))
      })
    return try StatsReport(rows, for: query)
  }
}
