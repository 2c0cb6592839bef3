package import ArgumentParser
import Foundation
import Glibc
import Postgres
import RPC

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
    if let databaseUrl { return try Self.checked(databaseUrl, from: "--database-url") }
    if let directory { return try Self.url(data: directory) }
    if let url = ProcessInfo.processInfo.environment["PARLEY_DATABASE_URL"] {
      return try Self.checked(url, from: "PARLEY_DATABASE_URL")
    }
    throw CommandFailure(
      "no database: give --database-url or PARLEY_DATABASE_URL, or --data with a running server's folder")
  }

  /// libpq would take an empty text for its own defaults.
  private static func checked(_ url: String, from origin: String) throws -> String {
    guard !url.isEmpty else {
      throw CommandFailure("\(origin) is empty: give a URI or keywords, as libpq takes, or leave it out")
    }
    if let mistake = ConnectionConfiguration.mistake(in: url) { throw CommandFailure("\(origin): \(mistake)") }
    return url
  }

  private static func url(data: String) throws -> String {
    guard !data.isEmpty else { throw CommandFailure("--data is empty: give the folder of a running server") }
    let folder = URL(fileURLWithPath: data).standardizedFileURL.path + "/run"
    let socket = folder + "/.s.PGSQL.5432"
    let isAbsent = access(socket, F_OK) != 0 && [ENOENT, ENOTDIR].contains(errno)
    guard !isAbsent, UnixSocketFile.isAnswered(socket) else {
      throw CommandFailure(
        "no Parley runs from \(data): start one with `parley serve --data \(data)`, or give --database-url")
    }
    return "host='\(folder)' user=parley dbname=parley"
  }
}
