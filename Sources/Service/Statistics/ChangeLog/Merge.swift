import Core
import Postgres

/// What was done with some change records.
struct Merged {
  var isMore: Bool
  /// The hours that were found damaged on the way, and have to be rebuilt.
  var damaged: [TenantKey: StaleHours] = [:]
}

extension Session {
  /// Merges change records of every tenant but some, a bounded number; not where tables are distributed.
  func mergeChanges(ofAllBut others: [TenantKey], _ layout: RecordLayout) throws(PostgresError) -> Merged {
    let take = Command(layout.statements.takeChangesOfAllBut) { $0.add(others.map(\.rawValue)) }
    return try mergeChanges(take, layout.plan) { _ in true }
  }

  /// Merges change records of one tenant, a bounded number.
  ///
  /// - Parameter stale: entries of these hours are not merged, for their rows are counted.
  func mergeChanges(
    of tenant: TenantKey, outside stale: StaleHours, _ layout: RecordLayout
  ) throws(PostgresError) -> Merged {
    let statements = layout.statements
    let take = try isDistributed ? statements.takeDistributedChangesOfTenant : statements.takeChangesOfTenant
    return try mergeChanges(Command(take) { $0.add(tenant.rawValue) }, layout.plan) { !stale.contains($0.hour) }
  }

  private func mergeChanges(
    _ take: Command, _ plan: MeasurePlan, where isWanted: (ChangeEntry) -> Bool
  ) throws(PostgresError) -> Merged {
    var take = take
    take.parameters.add(Int32(Limits.changeRecordsPerMerge))
    take.parameters.add(Int64(Limits.changeRecordBytesPerMerge))
    take.parameters.add(Int32(Limits.changeRecordBytesMax))
    take.isReadRowByRow = true
    var (rollups, postings) = (Rollups(plan), Postings())
    var damaged: [TenantKey: StaleHours] = [:]
    var (count, bytes) = (0, 0)
    try pipeline([take]) { (_, rows) throws(PostgresError) in
      for row in rows {
        let tenant = TenantKey(rawValue: try row.int32(0))
        let record = try row.bytes(1)
        count += 1
        bytes += Int(try row.int32(2))
        do throws(Unreadable) {
          for entry in try ChangeRecordReader.entries(record, plan) where isWanted(entry) {
            rollups.add(entry, tenant: tenant)
            postings.add(entry, tenant: tenant)
          }
        } catch {
          // Whatever it was to add, the rows tell.
          damaged[tenant, default: StaleHours()].insert(StaleHours.everyHour)
        }
      }
    }
    for (tenant, hours) in try merge(rollups.cells(Grain.allCases), plan) {
      damaged[tenant, default: .init()].formUnion(hours)
    }
    for (tenant, hours) in try merge(postings) { damaged[tenant, default: .init()].formUnion(hours) }
    for (tenant, hours) in damaged { try add(hours, of: tenant) }
    return Merged(
      isMore: count >= Limits.changeRecordsPerMerge || bytes >= Limits.changeRecordBytesPerMerge, damaged: damaged)
  }
}
