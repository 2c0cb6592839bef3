import Core
import Synchronization

/// Remembers tenants whose last statistics covered so few interactions that it is faster to read the rows first. Statistics
/// are right in either case.
final class SmallTenants: Sendable {
  /// The start of the range that had so few.
  private let starts = Mutex<[Tenant: Timestamp]>([:])

  func contains(_ tenant: Tenant, from start: Timestamp) -> Bool {
    starts.withLock { $0[tenant].map { $0 <= start } ?? false }
  }

  /// - Parameter exactUpTo: at most so many are few.
  func remember(_ tenant: Tenant, _ report: StatsReport, exactUpTo: Int) {
    let isSmall = report.totals.totalInteractions <= Int64(exactUpTo)
    starts.withLock { starts in
      if starts.count >= Limits.tenantsCachedMax { starts.removeAll() }
      starts[tenant] = isSmall ? report.start : nil
    }
  }
}
