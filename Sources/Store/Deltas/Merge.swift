import Domain
import Postgres

extension Statement {
  fileprivate static let takeDeltasOfAllBut = takeDeltas("tenant <> ALL ($1::int4[])")
  fileprivate static let takeDeltasOfTenant = takeDeltas("tenant = $1::int4")
  fileprivate static let takeDistributedDeltasOfTenant = takeDeltas("tenant = $1::int4", shard: "tenant = $1::int4 AND")

  private static func takeDeltas(_ tenants: String, shard: String = "") -> Statement {
    let text = String(decoding: PackageResources.deltas_take_sql, as: UTF8.self)
    return Statement("deltas_take", text.replacing("{tenants}", with: tenants).replacing("{shard}", with: shard))
  }
}

/// What was done with some change records.
struct Merged {
  var isMore: Bool
  /// The hours that were found damaged on the way, and have to be rebuilt.
  var damaged: [TenantKey: StaleHours] = [:]
}

extension Session {
  /// Merges change records of every tenant but some, a bounded number; not where tables are distributed.
  func mergeChanges(ofAllBut others: [TenantKey]) throws(PostgresError) -> Merged {
    try mergeChanges(Command(.takeDeltasOfAllBut) { $0.add(others.map(\.rawValue)) }) { _ in true }
  }

  /// Merges change records of one tenant, a bounded number.
  ///
  /// - Parameter stale: facts of these hours are not merged, for their rows are counted.
  func mergeChanges(of tenant: TenantKey, outside stale: StaleHours) throws(PostgresError) -> Merged {
    let take: Statement = try isDistributed ? .takeDistributedDeltasOfTenant : .takeDeltasOfTenant
    return try mergeChanges(Command(take) { $0.add(tenant.rawValue) }) { !stale.contains($0.hour) }
  }

  private func mergeChanges(
    _ take: Command, where isWanted: (Fact) -> Bool
  ) throws(PostgresError) -> Merged {
    var take = take
    take.parameters.add(Int32(Limits.deltasPerFold))
    take.parameters.add(Int64(Limits.deltaBytesPerFold))
    take.parameters.add(Int32(Limits.changeRecordBytesMax))
    take.isReadRowByRow = true
    var (rollups, postings) = (Rollups(), Postings())
    var damaged: [TenantKey: StaleHours] = [:]
    var (count, bytes) = (0, 0)
    try pipeline([take]) { (_, rows) throws(PostgresError) in
      for row in rows {
        let tenant = TenantKey(rawValue: try row.int32(0))
        let record = try row.bytes(1)
        count += 1
        bytes += Int(try row.int32(2))
        do throws(Unreadable) {
          for fact in try FactsReader.facts(record) where isWanted(fact) {
            rollups.add(fact, tenant: tenant)
            postings.add(fact, tenant: tenant)
          }
        } catch {
          // Whatever it was to add, the rows tell.
          damaged[tenant, default: StaleHours()].insert(StaleHours.everyHour)
        }
      }
    }
    for (tenant, hours) in try merge(rollups.cells(Grain.allCases)) {
      damaged[tenant, default: .init()].formUnion(hours)
    }
    for (tenant, hours) in try merge(postings) { damaged[tenant, default: .init()].formUnion(hours) }
    for (tenant, hours) in damaged { try add(hours, of: tenant) }
    return Merged(
      isMore: count >= Limits.deltasPerFold || bytes >= Limits.deltaBytesPerFold, damaged: damaged)
  }
}
