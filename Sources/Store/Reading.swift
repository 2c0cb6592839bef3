import Domain

extension Statement {
  /// reader_begin.sql for each way to plan.
  private static let beginReading = Dictionary(
    uniqueKeysWithValues: PostgresConnection.Plan.allCases.map { plan in
      let text = String(decoding: PackageResources.reader_begin_sql, as: UTF8.self)
      let settings = plan.settings.map { "set_config('\($0)', '\($1)', true)," }.joined(separator: "\n    ")
      return (plan, Statement("reader_begin_\(plan)", text.replacing("{plan}", with: settings), entersReaderRole: true))
    })

  fileprivate static func beginReading(_ plan: PostgresConnection.Plan) -> Statement { beginReading[plan]! }
}

extension Command {
  /// What a transaction that reads begins with.
  static func beginReading(_ tenant: Tenant, _ plan: PostgresConnection.Plan) -> Command {
    Command(.beginReading(plan)) { $0.add(tenant.description) }
  }

  /// The same with no tenant set, for no name is empty.
  static var beginReadingForNobody: Command { Command(.beginReading(.keyed)) { $0.add("") } }
}

extension PostgresConnection {
  /// How PostgreSQL plans the statements of a reading transaction.
  enum Plan: CaseIterable {
    /// Anew for the values at hand: for filters, whose best plans differ.
    case fresh
    /// Once, for all values, by an index, whatever the planner thinks of a table it has not analyzed yet: for
    /// rows whose keys are known.
    case keyed
    /// The same, in the index's order: for the first rows of many.
    case ordered

    /// What a reader's session is set to; behind a pooler, each of its transactions.
    static let readerDefaults = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")]

    /// What a transaction sets beside `readerDefaults`.
    fileprivate var settings: [(String, String)] {
      switch self {
      case .fresh: [("plan_cache_mode", "force_custom_plan"), ("enable_seqscan", "on")]
      case .keyed: []
      case .ordered: [("enable_sort", "off"), ("enable_bitmapscan", "off")]
      }
    }
  }

  /// Reads of a tenant, whatever its number is by now: `body` is given the number it is believed to have, and again
  /// the right one if the database knows better.
  ///
  /// - Returns: nil for a tenant that has never recorded anything.
  func reading<R>(
    _ name: Tenant, _ numbers: TenantNumbers,
    _ body: @Sendable (isolated PostgresConnection, NumberedTenant) throws(PostgresError) -> R
  ) throws(PostgresError) -> R? {
    var tenant = NumberedTenant(key: numbers.hint(for: name) ?? .none, name: name)
    do throws(PostgresError) { return try body(self, tenant) } catch {
      guard case .otherTenantNumber(let key) = error.kind else { throw error }
      numbers.correct(tenant, to: key)
      guard let key else { return nil }
      tenant.key = key
      return try body(self, tenant)
    }
  }

  /// Runs a query with the tenant set for row security, in the query's own transaction and in one snapshot: a restore
  /// that commits between the two statements could otherwise give the number to another tenant.
  func read(_ command: Command, tenant: NumberedTenant, plan: Plan) throws(PostgresError) -> Rows {
    _ = try open()
    let statements = [.beginReading(tenant.name, plan), command]
    // A reader's session has one snapshot for a transaction by itself. A pooler's is not the reader's.
    let answers = try pipeline(
      isPooled ? [Command(.beginRepeatableRead)] + statements + [Command(.commit)] : statements)
    let begun = isPooled ? 1 : 0
    try check(answers[begun], of: tenant)
    return answers[begun + 1]
  }

  /// Runs `body` in one snapshot, with the tenant set for row security.
  func read<R>(
    tenant: NumberedTenant, plan: Plan = .fresh,
    _ body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) throws(PostgresError) -> R {
    try inTransaction([Command(.beginRepeatableRead), .beginReading(tenant.name, plan)]) {
      (connection, begun) throws(PostgresError) in
      try connection.check(begun[1], of: tenant)
      return try body(connection)
    }
  }

  /// Row security has hidden everything from a query that was told another number than the registry has.
  private func check(_ begun: Rows, of tenant: NumberedTenant) throws(PostgresError) {
    guard let row = begun.first(where: { _ in true }) else {
      throw PostgresError(kind: .unexpectedAnswer, message: "reader_begin.sql answered with no row")
    }
    let key = row.isNull(0) ? nil : TenantKey(rawValue: try row.int32(0))
    guard key == tenant.key else {
      throw PostgresError(
        kind: .otherTenantNumber(key), message: "the tenant has another number in this database than the one told")
    }
  }
}
