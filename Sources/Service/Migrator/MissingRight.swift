import Postgres

extension PostgresError {
  /// A right is missing: PostgreSQL says so itself (42501), or a migration does (P0001).
  var isRightMissing: Bool {
    if case .refused(let state) = kind { ["42501", "P0001"].contains(state) } else { false }
  }
}

extension Session {
  /// What the user lacks whom PostgreSQL did not let migrate, and how to mend it; nil where none of it is missing.
  func missingRight(readerRole: String) throws(PostgresError) -> String? {
    let row = try script(
      """
      SELECT quote_ident(current_user), quote_ident(current_database()),
        has_database_privilege(current_user, current_database(), 'CREATE'),
        (SELECT quote_ident(pg_get_userbyid(nspowner)) FROM pg_namespace WHERE nspname = 'parley'),
        (SELECT pg_has_role(current_user, nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'parley'),
        (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user),
        (SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = \(sqlLiteral(readerRole)))
      """)[0]
    guard row.count == 7, let user = row[0], let database = row[1] else { return nil }
    let (mayMakeSchemas, owner, isOwner, mayMakeRoles, isReader) = (row[2] == "t", row[3], row[4], row[5], row[6])
    if let owner, isOwner != "t" {
      return
        "the user \(user) may not work with the schema parley, which is \(owner)'s: use that user, or run GRANT \(owner) TO \(user);"
    }
    if owner == nil, !mayMakeSchemas { return Self.schemaRefused(user, database) }
    if isReader == nil, mayMakeRoles != "t" {
      return
        "the role \(readerRole) is missing and \(user) may not create it: run as a superuser CREATE ROLE \(readerRole) NOLOGIN; GRANT \(readerRole) TO \(user);"
    }
    if isReader == "f" {
      return "\(user) is not a member of \(readerRole): run as a superuser GRANT \(readerRole) TO \(user);"
    }
    // CREATE SCHEMA IF NOT EXISTS needs the right also where the schema is there.
    return mayMakeSchemas ? nil : Self.schemaRefused(user, database)
  }

  private static func schemaRefused(_ user: String, _ database: String) -> String {
    "the user \(user) may not make a schema in the database \(database): run GRANT CREATE ON DATABASE \(database) TO \(user);"
  }
}
