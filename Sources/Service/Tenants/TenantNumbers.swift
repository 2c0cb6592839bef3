import Core
import Synchronization

/// The number a tenant's name stands for in every row.
struct TenantKey: RawRepresentable, Hashable {
  let rawValue: Int32

  /// Nobody's: what is told of a tenant whose number is not known yet.
  static let none = TenantKey(rawValue: 0)
}

/// A tenant's name, which decides, with the number that its rows are believed to have.
struct NumberedTenant: Hashable {
  var key: TenantKey
  var name: Tenant
}

/// The numbers of tenants, as they were when somebody last asked the registry.
///
/// Each is a hint and no proof. The next connection may lead to another database, a standby that was promoted or a
/// backup that was restored, whose registry gives the name another number or the number to another name. So whoever
/// uses a number tells the database the name, too, in the same transaction, and corrects the hint if it was wrong.
final class TenantNumbers: Sendable {
  private let known = Mutex<[Tenant: TenantKey]>([:])

  func hint(for tenant: Tenant) -> TenantKey? { known.withLock { $0[tenant] } }

  func remember(_ key: TenantKey, for tenant: Tenant) {
    known.withLock { known in
      if known.count >= Limits.tenantsCachedMax { known.removeAll() }
      known[tenant] = key
    }
  }

  /// What the registry said of a tenant whose number was believed to be another; nil where it has none.
  func correct(_ tenant: NumberedTenant, to key: TenantKey?) {
    if let key { return remember(key, for: tenant.name) }
    known.withLock { known in
      if known[tenant.name] == tenant.key { known[tenant.name] = nil }
    }
  }
}
