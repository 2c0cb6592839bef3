/// Whether statements are prepared by name, once for each connection to PostgreSQL.
public enum PreparedStatements: String, Sendable, CaseIterable {
  /// Also behind a pooler, which then has to keep them (PgBouncer from 1.21 on, with `max_prepared_statements`).
  case on
  case off
  /// Where no pooler lies between.
  case auto
}
