public import Core
public import Logging
import Postgres

/// Holds what is kept for statistics and lists against the rows themselves, day by day, each in one snapshot;
/// and has what differs rebuilt.
///
/// It reads as a tenant's reader, bound by row security, and owns its connections. Servers may run meanwhile.
public final class Verifier: Sendable {
  /// Of one tenant and one day, or the part of it that was asked for.
  public struct Day: Sendable {
    public var tenant: Tenant
    public var start: Timestamp
    public var interactions: Int64 = 0
    /// What differs, in words, and from when on; empty where all agrees.
    public var differences: [(time: Timestamp, what: String)] = []
    /// Stale hours, which have to be rebuilt, and of which nothing can be said but by their rows.
    public var waitingHours = 0

    /// All of it was compared, and nothing differs.
    public var agrees: Bool { differences.isEmpty && waitingHours == 0 }
  }

  public struct Failure: Error, CustomStringConvertible {
    public var description: String
    /// PostgreSQL cannot read a part of its tables; others it may.
    fileprivate var isOfDamage = false
  }

  private let owner: OwnerConnection
  private let reader: ReaderConnection
  private let layout: RecordLayout

  public convenience init(url: String, logger: Logger) {
    self.init(url: url, layout: .standard, logger: logger)
  }

  init(url: String, layout: RecordLayout, logger: Logger) {
    self.layout = layout
    // A day may take as long as it must.
    let configuration = ConnectionConfiguration(url: url, statementTimeout: .zero)
    owner = OwnerConnection(configuration, logger: logger)
    reader = ReaderConnection(configuration, logger: logger)
  }

  /// Looks at each day of the range that has anything, of one tenant or of all. Throws `Failure`.
  ///
  /// - Parameter body: is told of each day.
  public func verify(
    _ tenant: Tenant?, from start: Timestamp?, to end: Timestamp?, _ body: (Day) throws -> Void
  ) async throws {
    let hours = Self.hours(from: start, to: end)
    for tenant in try await tenants(tenant) {
      var next = hours.lowerBound
      while let hour = try await nextHour(from: next, of: tenant.key), hour < hours.upperBound {
        let piece = Self.day(of: hour).clamped(to: hours)
        try body(try await verify(piece, of: tenant))
        next = piece.upperBound
      }
    }
  }

  /// Has the hours of a day rebuilt, by this or by a server that runs, and looks again. What only a newer server can
  /// rebuild goes on to differ, and so does what PostgreSQL cannot read. Throws `Failure`.
  public func repair(_ day: Day) async throws -> Day {
    let tenant = try await tenants(day.tenant)[0]
    let first = InteractionID(lowerBound: day.start).hour
    let hours = first..<Self.day(of: first).upperBound
    do {
      try await rebuild(hours, of: tenant.key)
    } catch let failure as Failure where failure.isOfDamage {
      var left = try await verify(hours, of: tenant)
      left.addDamage(failure.description, first)
      return left
    }
    return try await verify(hours, of: tenant)
  }

  private func rebuild(_ hours: Range<Int32>, of tenant: TenantKey) async throws {
    try await answer(
      owner.run { (connection) throws(PostgresError) in try connection.add(StaleHours(hours), of: tenant) })
    var failures = 0
    repeat {
      let rebuilt: Rebuilt?
      do throws(PostgresError) {
        rebuilt = try await owner.run { (session) throws(PostgresError) in
          var piece = RebuildPiece(within: hours)
          return try session.withLease(.rollups) { (session) throws(PostgresError) in
            try session.rebuild(tenant, layout, &piece)
          }
        }.get()
        failures = 0
      } catch {
        failures += 1
        guard error.isTransient, failures < Self.failuresMax else { throw Self.failure(error) }
        continue
      }
      if case .leftToNewer = rebuilt { break }
      // A server that runs may be at it.
      if rebuilt == nil { try await Task.sleep(for: .milliseconds(50)) }
    } while try await hasStaleHours(tenant, hours)
  }

  /// A number that the registry gives to no tenant, and that something is kept of all the same. Nobody can read it.
  public struct UnknownNumber: Sendable {
    public var number: Int32
    /// Interactions have it, and not only what was made from them.
    public var hasInteractions: Bool
  }

  /// Numbers that a restore or a failover has taken from their tenants. Throws `Failure`.
  public func unknownNumbers() async throws -> [UnknownNumber] {
    try answer(
      await owner.run { (connection) throws(PostgresError) in
        let statement: Statement = try connection.isDistributed ? .unknownDistributedTenants : .unknownTenants
        return try connection.run(Command(statement)).map { (row) throws(PostgresError) in
          UnknownNumber(number: try row.int32(0), hasInteractions: try row.bool(1))
        }
      })
  }

  /// Removes what is kept of a number that has no interactions. Throws `Failure`.
  public func repair(_ unknown: UnknownNumber) async throws {
    try await rebuild(StaleHours.everyHour, of: TenantKey(rawValue: unknown.number))
  }

  /// So often in a row a rebuild is tried again that met with what another changed.
  private static let failuresMax = 20

  private static func day(of hour: Int32) -> Range<Int32> {
    let start = hour / .hoursPerDay * .hoursPerDay
    return start..<start + .hoursPerDay
  }

  /// Whole hours, for sums are kept by these.
  private static func hours(from start: Timestamp?, to end: Timestamp?) -> Range<Int32> {
    let first = start.map { InteractionID(lowerBound: $0).hour } ?? 0
    let last = end.map { InteractionID(lowerBound: $0 + (.millisecondsPerHour - 1)).hour } ?? .max
    return (first..<max(first, last)).clamped(to: StaleHours.everyHour)
  }

  // MARK: Statements

  private func answer<R>(_ result: Result<R, PostgresError>) throws(Failure) -> R {
    do throws(PostgresError) { return try result.get() } catch { throw Self.failure(error) }
  }

  private static func failure(_ error: PostgresError) -> Failure {
    Failure(description: error.message, isOfDamage: error.mayBeOfOneRow)
  }

  private func tenants(_ wanted: Tenant?) async throws(Failure) -> [NumberedTenant] {
    let all = try answer(
      await owner.run { (connection) throws(PostgresError) in
        var tenants: [NumberedTenant] = []
        for row in try connection.run(Command(.listTenants)) {
          guard let name = Tenant(try row.text(1)) else { continue }
          tenants.append(NumberedTenant(key: TenantKey(rawValue: try row.int32(0)), name: name))
        }
        return tenants
      })
    guard let wanted else { return all }
    guard let one = all.first(where: { $0.name == wanted }) else {
      throw Failure(description: "the tenant \(wanted) has never recorded anything")
    }
    return [one]
  }

  private func nextHour(from hour: Int32, of tenant: TenantKey) async throws(Failure) -> Int32? {
    try answer(
      await owner.run { (connection) throws(PostgresError) in
        let row = try connection.run(
          Command(.nextHour) {
            $0.add(tenant.rawValue)
            $0.add(hour)
          }
        ).first { _ in true }!
        return row.isNull(0) ? nil : try row.int32(0)
      })
  }

  private func hasStaleHours(_ tenant: TenantKey, _ hours: Range<Int32>) async throws(Failure) -> Bool {
    try answer(
      await owner.run { (connection) throws(PostgresError) in
        try connection.staleHours(of: tenant).overlaps(hours)
      })
  }

  private func verify(_ hours: Range<Int32>, of tenant: NumberedTenant) async throws(Failure) -> Day {
    let empty = Day(tenant: tenant.name, start: InteractionID(lowerBoundOfHour: hours.lowerBound).time)
    do throws(Failure) {
      return try answer(
        await reader.run { (connection) throws(PostgresError) in
          try connection.read(tenant: tenant, plan: .keyed) { (connection) throws(PostgresError) in
            var day = empty
            try DayCheck(hours, of: tenant.key, layout).run(on: connection, &day)
            return day
          }
        })
    } catch {
      guard error.isOfDamage else { throw error }
      var day = empty
      day.addDamage(error.description, hours.lowerBound)
      return day
    }
  }
}

extension Statement {
  fileprivate static let listTenants = Statement("tenants_list", PackageResources.tenants_list_sql)
  fileprivate static let unknownTenants = Statement("tenants_unknown", PackageResources.tenants_unknown_sql)
  fileprivate static let unknownDistributedTenants = Statement(
    "tenants_unknown_distributed", PackageResources.tenants_unknown_distributed_sql)
  fileprivate static let nextHour = Statement("hour_next", PackageResources.hour_next_sql)
}
