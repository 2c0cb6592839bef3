/// The numbers that PostgreSQL knows its types by (src/include/catalog/pg_type.dat).
package enum PostgresType {
  package static let bool: Int32 = 16
  package static let bytea: Int32 = 17
  package static let int8: Int32 = 20
  package static let int2: Int32 = 21
  package static let int4: Int32 = 23
  package static let text: Int32 = 25
  package static let float8: Int32 = 701
  package static let uuid: Int32 = 2950

  /// Where the time of a timestamptz begins, 2000-01-01, since 1970.
  package static let epochMilliseconds: Int64 = 946_684_800_000
}
