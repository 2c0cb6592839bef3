import Core
import Postgres

/// One interaction on its way into its row, encoded once. (A class, for a batch is sorted and taken apart several times on
/// its way: a row is then one reference.)
final class RecordRow: Sendable {
  let key: Key
  let encoded: EncodedInteraction
  let entry: ChangeEntry
  /// Whose number the key holds. The database decides whether it does.
  let tenantName: Tenant

  init(_ interaction: Interaction, tenant: NumberedTenant, _ layout: RecordLayout) {
    key = Key(tenant: tenant.key.rawValue, id: interaction.id)
    encoded = layout.encoded(interaction, tenant: tenant.key)
    entry = ChangeEntry(interaction, layout.plan)
    tenantName = tenant.name
  }

  /// The same under another number.
  init(_ row: RecordRow, tenant: TenantKey) {
    var encoded = row.encoded
    encoded.values.replaceFirst(with: tenant.rawValue)
    key = Key(tenant: tenant.rawValue, id: row.id)
    self.encoded = encoded
    entry = row.entry
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
