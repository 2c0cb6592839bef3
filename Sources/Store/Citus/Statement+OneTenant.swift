import Postgres

extension Statement {
  /// The same for keys that are all of one tenant, which goes to that tenant's shard: the text takes the tenant from the
  /// first of the keys instead of from each.
  var aboutOneTenant: Statement {
    Statement("one_tenant", text.replacing("wanted.tenant", with: "($1::int4[])[1]"))
  }
}
