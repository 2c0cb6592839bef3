import Domain
import Logging
import Synchronization

/// Folds deltas into the rollups and postings, a moment after they were committed, and counts anew the hours
/// that wait for it. Any number of servers may try; a lock in PostgreSQL lets one at a time.
///
/// It owns one connection, as the tables' owner.
final class DeltaFolder: Sendable {
  private let connection: PostgresConnection
  private let logger: Logger
  private let isClosed = Atomic<Bool>(false)

  init(_ connection: PostgresConnection, logger: Logger) {
    self.connection = connection
    self.logger = logger
  }

  /// Works until `close()`, and then until nothing is left to fold.
  func run() async {
    var backoff = Backoff(from: .milliseconds(250), to: .seconds(10))
    while true {
      let isLast = isClosed.load(ordering: .relaxed)
      let begun = ContinuousClock.now
      do throws(PostgresError) {
        while try await step() {}
        backoff.succeeded()
      } catch {
        if !error.isConnectionLost, !error.isTransient {
          logger.error("folding statistics failed", metadata: ["reason": "\(error.message)"])
        }
        backoff.failed()
        if isLast { return }
      }
      if isLast { return }
      // A fold costs by the sums it touches more than by the facts: where it costs much, more are waited for.
      let next = ContinuousClock.now + min(max((.now - begun) * 8, .milliseconds(250)), .seconds(2))
      repeat {
        try? await Task.sleep(for: .milliseconds(250))
      } while (.now < next || !backoff.mayTry) && !isClosed.load(ordering: .relaxed)
    }
  }

  func close() {
    isClosed.store(true, ordering: .relaxed)
  }

  /// Folds some facts, and counts some hours anew: both, so that neither waits for the other's end.
  ///
  /// - Returns: whether there may be more to do at once.
  func step() async throws(PostgresError) -> Bool {
    let isClosed = isClosed.load(ordering: .relaxed)
    let logger = logger
    return try await connection.run { (connection) throws(PostgresError) in
      let pending = try connection.run(Command(.pendingDeltas)).first { _ in true }!
      var isMore = false
      if try pending.bool(0) {
        let folded = try connection.inFold { (connection) throws(PostgresError) in try connection.foldFacts() }
        guard let folded else { return false }
        isMore = folded
      }
      // Hours can wait for the next start.
      guard !isClosed, !pending.isNull(1) else { return isMore }
      let tenant = TenantKey(rawValue: try pending.int32(1))
      let rest = try connection.inFold { (connection) throws(PostgresError) in try connection.recount(tenant) }
      if let rest, rest > Limits.recountHoursReadMax {
        logger.info(
          "counting anew what was recorded before",
          metadata: ["tenant_key": "\(tenant.rawValue)", "hours_left": "\(rest)"])
      }
      return rest != nil
    }.get()
  }
}

extension PostgresConnection {
  /// Runs `body` in a transaction of one snapshot, if nobody else folds; nil if somebody does.
  fileprivate func inFold<R>(
    _ body: @Sendable (isolated PostgresConnection) throws(PostgresError) -> R
  ) throws(PostgresError) -> R? {
    try inTransaction([Command(.beginRepeatableRead)]) { (connection) throws(PostgresError) in
      guard try connection.run(Command(.lockFolding)).first(where: { _ in true })!.bool(0) else { return nil }
      return try body(connection)
    }
  }

  fileprivate func foldFacts() throws(PostgresError) -> Bool {
    var (rollups, postings) = (Rollups(), Postings())
    let (taken, isMore) = try take(from: nil)
    for case .facts(let tenant, let facts) in taken {
      for fact in facts {
        rollups.add(fact, tenant: tenant)
        postings.add(fact, tenant: tenant)
      }
    }
    try merge(rollups.cells(Grain.allCases))
    try merge(postings)
    return isMore
  }

  /// Counts one day's hours anew, of those that a tenant has waiting. What else waits of the tenant is taken
  /// along, for rows are counted here whether or not their delta was folded.
  ///
  /// - Returns: over how many hours what still waits is spread.
  fileprivate func recount(_ tenant: TenantKey) throws(PostgresError) -> Int {
    var waiting: [Range<Int32>] = []
    var facts: [Fact] = []
    for delta in try take(from: tenant).deltas {
      switch delta {
      case .facts(_, let some): facts += some
      case .recount(_, let hours): waiting.append(hours)
      }
    }
    guard let first = waiting.map(\.lowerBound).min(), let last = waiting.map(\.upperBound).max() else { return 0 }
    // To the end of the day of the first row there is; hours without rows are counted with it.
    let ids = InteractionID(lowerBoundOfHour: first)..<InteractionID(lowerBoundOfHour: last)
    let next = try run(
      Command(.interactionFacts) {
        $0.add(tenant.rawValue)
        $0.add(ids.lowerBound)
        $0.add(ids.upperBound)
        $0.add(Int32(1))
      }
    ).first { _ in true }
    let firstDay = first / .hoursPerDay * .hoursPerDay
    let day = try next.map { (row) throws(PostgresError) in try Fact(row).hour / .hoursPerDay * .hoursPerDay } ?? last
    let end = min(day == last ? last : day + .hoursPerDay, last)
    let piece = first..<max(end, first + 1)

    var (others, postings) = (Rollups(), Postings())
    for fact in facts where !piece.contains(fact.hour) {
      others.add(fact, tenant: tenant)
      postings.add(fact, tenant: tenant)
    }
    try merge(others.cells(Grain.allCases))

    for grain in Grain.allCases where !grain.isDay { try remove(grain, piece, tenant) }
    try removePostings(piece, of: tenant)
    var counted = Rollups()
    try self.facts(
      InteractionID(lowerBoundOfHour: piece.lowerBound)..<InteractionID(lowerBoundOfHour: piece.upperBound),
      tenant: tenant
    ) {
      counted.add($0, tenant: tenant)
      postings.add($0, tenant: tenant)
    }
    try merge(postings)
    try put(counted.cells(Grain.allCases.filter { !$0.isDay }))

    let days = firstDay..<(piece.upperBound + .hoursPerDay - 1) / .hoursPerDay * .hoursPerDay
    for grain in Grain.allCases where grain.isDay { try remove(grain, days, tenant) }
    var daily = Rollups()
    try rollups(.hourDetail, days, tenant: tenant) { daily.add($1, for: $0) }
    try put(daily.cells(Grain.allCases.filter(\.isDay)))

    let rest = waiting.map { $0.clamped(to: piece.upperBound..<max(last, piece.upperBound)) }.filter { !$0.isEmpty }
    _ = try pipeline(rest.map { .addRecount($0, of: tenant) })
    return Int(last) - Int(min(piece.upperBound, last))
  }

  /// Takes facts of every tenant, a bounded number, of which there may be more; or of one tenant everything.
  private func take(from tenant: TenantKey?) throws(PostgresError) -> (deltas: [Delta], isMore: Bool) {
    let rows = try run(
      Command(.takeDeltas) {
        $0.add(tenant?.rawValue)
        $0.add(tenant == nil ? Int32(Limits.deltasPerFold) : .max)
        $0.add(tenant == nil ? Int64(Limits.deltaBytesPerFold) : .max)
      })
    var deltas: [Delta] = []
    var bytes = 0
    for row in rows {
      if !row.isNull(1) { bytes += try row.bytes(1).count }
      do throws(PostgresError) {
        deltas.append(try Delta(row))
      } catch {
        // Whatever it was to add, the rows tell; to the last hour that an interaction may be ahead of.
        let hours = 0..<InteractionID(lowerBound: .now).hour + 48
        _ = try run(.addRecount(hours, of: TenantKey(rawValue: try row.int32(0))))
      }
    }
    return (deltas, rows.count >= Limits.deltasPerFold || bytes >= Limits.deltaBytesPerFold)
  }

  private func remove(_ grain: Grain, _ hours: Range<Int32>, _ tenant: TenantKey) throws(PostgresError) {
    _ = try run(
      Command(.removeRollups) {
        $0.add(tenant.rawValue)
        $0.add(grain.rawValue)
        $0.add(hours.lowerBound)
        $0.add(hours.upperBound)
      })
  }
}
