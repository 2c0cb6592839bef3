import Core
import Postgres

/// How PostgreSQL plans the statements of a reading transaction.
enum ReadPlan: CaseIterable {
  /// Anew for the values at hand: for filters, whose best plans differ.
  case fresh
  /// Once, for all values, by an index and in its order, whatever the planner thinks of a table it has not analyzed yet:
  /// for rows whose keys are known, and for the first rows of many.
  case keyed

  /// What a reader's session is set to; behind a pooler, each of its transactions.
  ///
  /// A plan that sorts all the same, such as that of the rows of some ids, counts as very costly then: PostgreSQL would
  /// compile it in each execution, for tenths of a second.
  ///
  /// No read takes PostgreSQL's parallel workers: they are the whole server's, so one tenant's scan would keep more
  /// processors busy than it has connections.
  static let readerDefaults = keyedPlans + [withoutWorkers]

  private static let withoutWorkers = (name: "max_parallel_workers_per_gather", value: "0")

  private static let keyedPlans: [(name: String, value: String)] = [
    ("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("enable_sort", "off"),
    ("enable_bitmapscan", "off"), ("jit", "off"),
  ]

  /// What a transaction sets beside `readerDefaults`.
  fileprivate var settings: [(String, String)] {
    switch self {
    case .fresh:
      [("plan_cache_mode", "force_custom_plan")] + Self.keyedPlans.dropFirst().map { ($0.name, "on") }
    case .keyed: []
    }
  }

  /// What a transaction sets on the nodes that tables are distributed over, which plan each statement for its values.
  fileprivate var nodeSettings: [(String, String)] {
    let plan = self == .fresh ? [] : Array(Self.keyedPlans.dropFirst())
    return (plan + [Self.withoutWorkers]).map { ($0.name, $0.value) }
  }
}

extension Statement {
  /// reader_begin.sql for each way to plan.
  private static let beginReading = Dictionary(
    uniqueKeysWithValues: ReadPlan.allCases.map { plan in
      let text = sqlText(PackageResources.reader_begin_sql)
      let settings = plan.settings.map { "set_config('\($0)', '\($1)', true)," }.joined(separator: "\n    ")
      return (plan, Statement("reader_begin_\(plan)", text.replacing("{plan}", with: settings)))
    })

  fileprivate static func beginReading(_ plan: ReadPlan) -> Statement { beginReading[plan]! }

  /// reader_begin_distributed.sql for each way to plan.
  private static let beginDistributedReading = Dictionary(
    uniqueKeysWithValues: ReadPlan.allCases.map { plan in
      let text = sqlText(PackageResources.reader_begin_distributed_sql)
      let settings = plan.nodeSettings.map { "'\($0) = \($1)'" }.joined(separator: ", ")
      return (plan, Statement("reader_begin_distributed_\(plan)", text.replacing("{plan}", with: settings)))
    })

  fileprivate static func beginDistributedReading(_ plan: ReadPlan) -> Statement { beginDistributedReading[plan]! }
}

extension ReadFence {
  /// Sets the role of readers, the tenant and the plan. A read of a tenant that the registry has under another number
  /// than the one told, from whose rows row security has hidden everything, is no read.
  static func tenant(_ tenant: NumberedTenant, _ plan: ReadPlan) -> ReadFence {
    let command = Command(.beginReading(plan)) { $0.add(tenant.name.description) }
    return ReadFence(command, distributed: .beginDistributedReading(plan)) { (row) throws(PostgresError) in
      let key = row.isNull(0) ? nil : TenantKey(rawValue: try row.int32(0))
      guard key == tenant.key else {
        throw PostgresError(
          kind: .checkFailed(OtherTenantNumber(key: key)),
          message: "the tenant has another number in this database than the one told")
      }
    }
  }

  /// The same with no tenant set, for no name is empty.
  static var nobody: ReadFence {
    let command = Command(.beginReading(.keyed)) { $0.add("") }
    return ReadFence(command, distributed: .beginDistributedReading(.keyed)) { (_) throws(PostgresError) in }
  }
}

extension ReaderSession {
  /// Reads of a tenant, whatever its number is by now: `body` is given the number it is believed to have, and again
  /// the right one if the database knows better.
  ///
  /// - Returns: nil for a tenant that has never recorded anything.
  func reading<R>(
    _ name: Tenant, _ numbers: TenantNumbers,
    _ body: (ReaderSession, NumberedTenant) throws(PostgresError) -> R
  ) throws(PostgresError) -> R? {
    var tenant = NumberedTenant(key: numbers.hint(for: name) ?? .none, name: name)
    do throws(PostgresError) { return try body(self, tenant) } catch {
      guard case .checkFailed(let failure as OtherTenantNumber) = error.kind else { throw error }
      numbers.correct(tenant, to: failure.key)
      guard let key = failure.key else { return nil }
      tenant.key = key
      return try body(self, tenant)
    }
  }

  /// Runs queries with the tenant set for row security, in their own transaction, in one snapshot and one round trip: a
  /// restore that commits between two statements could otherwise give the number to another tenant.
  func read(_ commands: [Command], tenant: NumberedTenant, plan: ReadPlan) throws(PostgresError) -> [Rows] {
    try read(commands, behind: .tenant(tenant, plan))
  }

  /// Runs `body` in one snapshot, with the tenant set for row security.
  func read<R>(
    tenant: NumberedTenant, plan: ReadPlan = .fresh, _ body: (ReadTransaction) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    try read(behind: .tenant(tenant, plan), body)
  }

  /// The same, with queries that go out along with the transaction's begin; `take` is given the rows of each.
  func read<R>(
    tenant: NumberedTenant, plan: ReadPlan, beginningWith commands: [Command],
    _ take: (Int, Rows) throws(PostgresError) -> Void, _ body: (ReadTransaction) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    try read(behind: .tenant(tenant, plan), beginningWith: commands, take, body)
  }
}

extension ConnectionConfiguration {
  /// As Parley connects.
  ///
  /// - Parameter readLockMax: how long a statement of a reader waits for what others have locked; nil for as long as it may
  ///   take.
  init(
    url: String, statementTimeout: Duration = .seconds(30), grace: Duration = .seconds(5),
    preparedStatements: PreparedStatements = .auto, readLockMax: Duration? = nil
  ) {
    // Of the session, as the others: a transaction spends nothing on it. Where none waits, PostgreSQL does not, either.
    let lockTimeout = readLockMax.map { [(name: "lock_timeout", value: $0.setting)] } ?? []
    self.init(
      url: url, applicationName: "parley", statementTimeout: statementTimeout, grace: grace,
      preparedStatements: preparedStatements, readerSettings: ReadPlan.readerDefaults + lockTimeout,
      distributionMark: Distribution.mark)
  }
}
