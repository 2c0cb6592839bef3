import Domain
import Postgres

/// One interaction on its way into its row, encoded once.
struct RecordRow: Sendable {
  let key: Key
  /// The parameters of interaction_insert.sql.
  let values: Parameters
  let fact: Fact
  /// Whose number the key holds. The database decides whether it does.
  let tenantName: Tenant

  init(_ interaction: Interaction, tenant: NumberedTenant) {
    key = Key(tenant: tenant.key.rawValue, id: interaction.id)
    values = Parameters(interaction, tenant: tenant.key)
    fact = Fact(interaction)
    tenantName = tenant.name
  }

  /// The same under another number.
  init(_ row: RecordRow, tenant: TenantKey) {
    var values = row.values
    values.replaceFirst(with: tenant.rawValue)
    key = Key(tenant: tenant.rawValue, id: row.id)
    self.values = values
    fact = row.fact
    tenantName = row.tenantName
  }

  var id: InteractionID { key.id }
  var tenant: TenantKey { TenantKey(rawValue: key.tenant) }

  struct Key: Hashable, Comparable {
    var tenant: Int32
    var id: InteractionID

    static func < (a: Key, b: Key) -> Bool { (a.tenant, a.id) < (b.tenant, b.id) }
  }
}
