import Core
import Postgres

extension Parameters {
  /// The first three parameters of interaction_page.sql, but for candidates, and of interaction_stats.sql.
  mutating func add(tenant: TenantKey, from: InteractionID, upTo: InteractionID) {
    add(tenant.rawValue)
    add(from)
    add(upTo)
  }
}
