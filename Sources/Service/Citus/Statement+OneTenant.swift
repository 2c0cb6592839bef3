import Postgres

extension Statement {
  /// The same for keys that are all of one tenant, which goes to that tenant's shard.
  var aboutOneTenant: Statement { Statement("one_tenant", Self.textAboutOneTenant(text)) }

  /// It takes the tenant from the first of the keys instead of from each.
  static func textAboutOneTenant(_ text: String) -> String {
    text.replacing("wanted.tenant", with: "($1::int4[])[1]")
  }
}
