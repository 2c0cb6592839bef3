package import ArgumentParser
import Foundation

/// Which PostgreSQL a command works with that goes past the server.
package struct DatabaseOptions: ParsableArguments {
  @Option(help: "The PostgreSQL, a URI or keywords, as libpq takes (or PARLEY_DATABASE_URL).")
  package var databaseUrl: String?

  @Option(
    name: .customLong("data"),
    help: ArgumentHelp("The data folder of a running server: its private PostgreSQL.", valueName: "dir"))
  package var directory: String?

  package init() {}

  package func url() throws -> String {
    let fromData = directory.map { directory in
      "host='\(URL(fileURLWithPath: directory).standardizedFileURL.path)/run' user=parley dbname=parley"
    }
    guard let url = databaseUrl ?? fromData ?? ProcessInfo.processInfo.environment["PARLEY_DATABASE_URL"] else {
      throw CommandFailure(
        "no database: give --database-url or PARLEY_DATABASE_URL, or --data with a running server's folder")
    }
    return url
  }
}
