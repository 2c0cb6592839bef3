import Core
import Synchronization

/// Tenants that had so few interactions, when somebody last asked, that their rows tell their statistics at once. It is how
/// statistics are found fast, not whether they are right.
final class SmallTenants: Sendable {
  /// From when on they had so few.
  private let starts = Mutex<[Tenant: Timestamp]>([:])

  func contains(_ tenant: Tenant, from start: Timestamp) -> Bool {
    starts.withLock { $0[tenant].map { $0 <= start } ?? false }
  }

  /// - Parameter exactUpTo: that many are few.
  func remember(_ tenant: Tenant, _ report: StatsReport, exactUpTo: Int) {
    let isSmall = report.totals.totalInteractions <= Int64(exactUpTo)
    starts.withLock { starts in
      if starts.count >= Limits.tenantsCachedMax { starts.removeAll() }
      starts[tenant] = isSmall ? report.start : nil
    }
  }
}
