public import Domain
public import Logging

extension Statement {
  fileprivate static let beginReading = Statement("reader_begin", PackageResources.reader_begin_sql)
  fileprivate static let setPlan = Statement("reader_plan", PackageResources.reader_plan_sql)
}

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
    catalog = Catalog(owner())
    let catalog = catalog
    recorder = Recorder(
      writers: (0..<configuration.writers).map { _ in BatchWriter(owner(), catalog: catalog, logger: logger) })
    folder = DeltaFolder(owner(), logger: logger)
    readers = ReaderPool(connection, count: configuration.readers, logger: logger)
    // Fewer than readers, so that gets come together and lists are not kept from a connection.
    lookup = InteractionLookup(readers, concurrency: max(1, configuration.readers / 2))
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
    if let key = catalog.knownKey(of: tenant) {
      return recorder.record(interactions, tenant: key, on: executor, answer: answer)
    }
    return answered(on: executor, answer) { [catalog, recorder] () throws(RPCError) in
      let key = try await catalog.keyForRecording(of: tenant)
      return try await awaited { recorder.record(interactions, tenant: key, on: $0, answer: $1) }
    }
  }

  public func interaction(
    _ id: InteractionID, of tenant: Tenant, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (Result<Interaction?, RPCError>) -> Void
  ) -> Cancellation {
    if let key = catalog.knownKey(of: tenant) {
      return lookup.interaction(id, tenant: key, on: executor, answer: answer)
    }
    return answered(on: executor, answer) { [catalog, lookup] () throws(RPCError) in
      guard let key = try await catalog.key(of: tenant) else { return nil }
      return try await awaited { lookup.interaction(id, tenant: key, on: $0, answer: $1) }
    }
  }

  /// For a tenant's first call, which waits for its number.
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
    guard let key = try await catalog.key(of: tenant) else { return ([], false) }
    return try await readers.read { (connection) throws(PostgresError) in
      try PageReader(query, tenant: key).page(on: connection)
    }
  }

  public func stats(_ query: GetStats.Checked, of tenant: Tenant) async throws(RPCError) -> StatsReport {
    guard let key = try await catalog.key(of: tenant) else {
      return StatsReport(start: query.start, end: query.end)
    }
    let reader = StatsReader(query, tenant: key)
    let exactUpTo = exactStatsInteractionsMax
    return try await readers.read { (connection) throws(PostgresError) in
      if let reader {
        let report = try connection.read(tenant: key, plan: .keyed) { (connection) throws(PostgresError) in
          try reader.report(on: connection, exactUpTo: exactUpTo)
        }
        if let report { return report }
      }
      return try connection.read(tenant: key) { (connection) throws(PostgresError) in
        try connection.statsOfRows(query, tenant: key)
      }
    }
  }
}

extension Command {
  fileprivate static func beginReading(_ tenant: TenantKey) -> Command {
    Command(.beginReading) { $0.add("\(tenant.rawValue)") }
  }

  fileprivate static func set(_ plan: PostgresConnection.Plan) -> Command {
    Command(.setPlan) {
      $0.add(plan.planCacheMode)
      $0.add(plan.maySort ? "on" : "off")
      $0.add(plan.mayScan ? "on" : "off")
    }
  }
}

extension PostgresConnection {
  /// How PostgreSQL plans a prepared statement.
  enum Plan {
    /// Anew for the values at hand: for filters, whose best plans differ.
    case fresh
    /// Once, for all values, by an index, whatever the planner thinks of a table it has not analyzed yet: for
    /// rows whose keys are known.
    case keyed
    /// The same, in the index's order: for the first rows of many.
    case ordered

    fileprivate var planCacheMode: String { self == .fresh ? "force_custom_plan" : "force_generic_plan" }
    fileprivate var maySort: Bool { self != .ordered }
    fileprivate var mayScan: Bool { self == .fresh }
  }

  /// Runs a query with the tenant set for row security, in the query's own transaction.
  func read(_ command: Command, tenant: TenantKey, plan: Plan) throws(PostgresError) -> Rows {
    try planning(plan) { (set) throws(PostgresError) in
      try pipeline(set + [.beginReading(tenant), command]).last!
    }
  }

  /// Runs `body` in one snapshot, with the tenant set for row security.
  func read<R>(
    tenant: TenantKey, plan: Plan = .fresh,
    _ body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    try planning(plan) { (set) throws(PostgresError) in
      try inTransaction([Command(.beginRepeatableRead)] + set + [.beginReading(tenant)], body: body)
    }
  }

  /// Runs `body` with the commands that make the session plan so, if it does not already: a session mostly goes on
  /// as it did.
  private func planning<R>(
    _ plan: Plan, _ body: ([Command]) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    _ = try open()
    let isSet = self.plan == plan
    // A transaction that fails takes back what it set.
    self.plan = nil
    let result = try body(isSet ? [] : [.set(plan)])
    self.plan = plan
    return result
  }

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
