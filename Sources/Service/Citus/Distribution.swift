import Postgres

/// The tables' distribution over the nodes of Citus: whether there is any, and how it comes about.
struct Distribution {
  /// A function that is there where the tables are distributed, and nowhere else. Its comment says by what.
  static let mark = "parley.begin_reading"
  private static let markedFunction = "parley.begin_reading(text, text[])"

  static let summary =
    "  distribute the tables by tenant over the nodes of Citus, in one transaction; locks interactions, deltas, rollups and postings against everything"

  /// What distributes the tables of a schema. It is done again after every migration, and where the text is another.
  static func text(of version: SchemaVersion) -> String {
    let text = String(decoding: PackageResources.distribute_sql, as: UTF8.self)
    return "\(text)\nCOMMENT ON FUNCTION \(markedFunction) IS \(sqlLiteral(state(of: version, text)));"
  }

  private static func state(of version: SchemaVersion, _ text: String) -> String {
    let step = Migration(version: version.newest, name: "citus", oldestVersion: 0, Array(text.utf8), locks: "")
    return "The tables are distributed, as of version \(version.newest), by \(step.checksum.prefix(16))."
  }

  /// What became of the tables of this database; nil where they are not distributed.
  fileprivate(set) var comment: String?

  func isUpToDate(_ version: SchemaVersion) -> Bool {
    comment == Self.state(of: version, String(decoding: PackageResources.distribute_sql, as: UTF8.self))
  }
}

extension Session {
  func distribution() throws(PostgresError) -> Distribution {
    let row = try script(
      """
      SELECT to_regproc('\(Distribution.mark)') IS NOT NULL,
        (SELECT obj_description(to_regproc('\(Distribution.mark)'), 'pg_proc'))
      """)[0]
    return Distribution(comment: row[0] == "t" ? row[1] ?? "" : nil)
  }

  /// Why the tables cannot be distributed here, in a sentence with the way to mend it; nil where they can.
  func whyNotDistributable() throws(PostgresError) -> String? {
    let database = try script("SELECT quote_ident(current_database())")[0][0] ?? ""
    guard try script("SELECT FROM pg_extension WHERE extname = 'citus'").count == 1 else {
      return
        "the database \(database) has no extension citus: run CREATE EXTENSION citus in it, here and on every node, or leave --citus out (deploy/CITUS.md)"
    }
    guard try script("SELECT groupid FROM pg_dist_local_group").first?.first == "0" else {
      return "the database \(database) is of a worker node of Citus: give the URL of the coordinator"
    }
    let nodes = "SELECT FROM pg_dist_node WHERE isactive AND shouldhaveshards AND noderole = 'primary'"
    guard try !script(nodes).isEmpty else {
      return
        "Citus has no nodes that may hold the tables of \(database): run SELECT citus_add_node('HOST', PORT) in it for each (deploy/CITUS.md)"
    }
    return nil
  }

  /// Distributes the tables, in the transaction under way.
  func distribute(_ version: SchemaVersion) throws(PostgresError) { try script(Distribution.text(of: version)) }

  /// Ends Parley's other sessions, which begin anew and then know that the tables are distributed.
  func endOtherSessions() throws(PostgresError) {
    try script(
      """
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
        AND application_name IN ('parley owner', 'parley reader')
      """)
  }
}
