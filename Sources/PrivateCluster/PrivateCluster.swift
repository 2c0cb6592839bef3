import Foundation
public import Logging
import Postgres
import Subprocess
import SystemPackage

/// A PostgreSQL of Parley's own in one folder: made once, reached by a Unix socket alone, started and
/// stopped with Parley, started again when it dies.
///
/// It owns `DIRECTORY/postgres` (the cluster) and `DIRECTORY/run` (its socket), and holds a lock on the
/// directory as long as it lives. A cluster that a killed Parley left running is taken over as it is.
/// As root, PostgreSQL runs as the user `postgres`, for it refuses to run as root.
public final class PrivateCluster: Sendable {
  /// Why the cluster cannot be had, in words for the operator.
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  /// What Parley connects to: its own database as its own role.
  public let url: String

  private let binaries: String
  private let cluster: String
  private let sockets: String
  private let user: OperatingSystemUser
  private let lock: DirectoryLock
  private let postmaster: Postmaster
  private let logger: Logger

  /// - Parameter directory: made if it is not there.
  public init(directory: String, logger: Logger) throws {
    let directory = URL(fileURLWithPath: directory).standardizedFileURL.path
    self.logger = logger
    cluster = directory + "/postgres"
    postmaster = Postmaster(file: cluster + "/postmaster.pid")
    sockets = directory + "/run"
    let socketBytes = (sockets + "/.s.PGSQL.5432").utf8.count
    guard socketBytes <= 107 else {
      throw Failure(
        description:
          "\(directory) is too long a path: PostgreSQL's socket in it would have \(socketBytes) bytes, at most 107 are allowed"
      )
    }
    // PostgreSQL's programs pass paths through a shell and a list separated by commas.
    if let character = directory.first(where: { "\"`$\\,\n\r".contains($0) }) {
      throw Failure(
        description: "\(directory): a folder's name may not hold \(character.debugDescription) here; choose another")
    }
    binaries = try Self.findBinaries(forCluster: cluster)
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch {
      throw Failure(
        description:
          "the folder \(directory) cannot be made (no directory, or no permission): choose another, or make it")
    }
    lock = try DirectoryLock(directory)
    user = try OperatingSystemUser.forPostgres(cluster: cluster)
    url = Self.url(sockets: sockets, user: "parley", database: "parley")
  }

  // MARK: Life

  /// Makes the cluster if there is none, and has it run.
  public func start() async throws {
    try await checkVersion()
    try await create()
    try await launch()
    try await createDatabase()
  }

  /// Starts PostgreSQL again whenever it has died, until cancelled.
  public func keepAlive() async {
    while (try? await Task.sleep(for: .seconds(1))) != nil {
      guard postmaster.state == .dead else { continue }
      logger.warning("the private PostgreSQL is gone; starting it again")
      do {
        try await launch()
      } catch {
        logger.error("the private PostgreSQL does not start", metadata: ["reason": "\(error)"])
      }
    }
  }

  public func stop() async {
    do {
      guard postmaster.state != .dead else { return }
      try await run("pg_ctl", "stop", "-D", cluster, "-m", "fast", "-W")
      for _ in 0..<600 where postmaster.state != .dead { try await Task.sleep(for: .milliseconds(100)) }
    } catch {
      logger.error("the private PostgreSQL does not stop", metadata: ["reason": "\(error)"])
    }
  }

  // MARK: Steps

  private func create() async throws {
    let files = FileManager.default
    try files.createDirectory(atPath: sockets, withIntermediateDirectories: true)
    try user.own(sockets, mode: 0o700)
    guard !files.fileExists(atPath: cluster) else { return }
    removeUnfinished()
    // Made aside and renamed: a folder of the cluster's name is a whole cluster, wherever this was killed.
    // Each try has a name of its own, for the initdb of a killed Parley may still be at work in its
    // folder, and clears that away when it fails.
    let unfinished = "\(cluster).new.\(getpid()).\(UInt32.random(in: .min ... .max))"
    try files.createDirectory(atPath: unfinished, withIntermediateDirectories: true)
    try user.own(unfinished, mode: 0o700)
    logger.info("making a private PostgreSQL", metadata: ["folder": "\(cluster)"])
    try await run(
      "initdb", "-D", unfinished, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--auth=peer", "--data-checksums")
    // Peers of these system users are who they say, over the socket only they can reach.
    let systemUsers = Set([user.name, "root"]).sorted()
    let map = systemUsers.map { "parley \($0) postgres\nparley \($0) parley\n" }.joined()
    try append(map, to: unfinished + "/pg_ident.conf")
    try Data("local all all peer map=parley\n".utf8).write(to: URL(fileURLWithPath: unfinished + "/pg_hba.conf"))
    try user.own(unfinished + "/pg_hba.conf", mode: 0o600)
    try append(
      """

      # Parley's own. Durability is PostgreSQL's default: every commit is on disk.
      listen_addresses = ''
      unix_socket_permissions = 0700
      # Rows are sent to the end of their table, but to anywhere in its indexes: these should fit.
      shared_buffers = \(Self.sharedBuffersMebibytes)MB
      # Written files of the log are used again: new ones cost their filling with zeros.
      min_wal_size = 1GB
      max_wal_size = 4GB

      """, to: unfinished + "/postgresql.conf")
    try files.moveItem(atPath: unfinished, toPath: cluster)
  }

  /// A sixteenth of the memory, within what a small machine can spare and a large one needs.
  private static var sharedBuffersMebibytes: UInt64 {
    min(max(ProcessInfo.processInfo.physicalMemory >> 20 / 16, 128), 1024)
  }

  /// What killed tries left. An initdb still at work in one fails by itself.
  private func removeUnfinished() {
    let files = FileManager.default
    let folder = URL(fileURLWithPath: cluster)
    let parent = folder.deletingLastPathComponent().path
    for name in (try? files.contentsOfDirectory(atPath: parent)) ?? []
    where name.hasPrefix("\(folder.lastPathComponent).new") {
      try? files.removeItem(atPath: "\(parent)/\(name)")
    }
  }

  private func append(_ text: String, to file: String) throws {
    let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
    defer { try? handle.close() }
    try handle.seekToEnd()
    try handle.write(contentsOf: Data(text.utf8))
  }

  private func launch() async throws {
    switch postmaster.state {
    case .running:
      logger.info("taking over the private PostgreSQL that runs already", metadata: ["folder": "\(cluster)"])
    case .dead:
      // pg_ctl would take a stranger with the dead server's number for the server.
      try? FileManager.default.removeItem(atPath: cluster + "/postmaster.pid")
      try await launchAnew()
    case .unknown(let reason):
      throw Failure(description: "whether the private PostgreSQL runs cannot be seen: \(reason)")
    }
    for _ in 0..<600 {
      if isAnswering(url: superuserURL) { return }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw Failure(description: "the private PostgreSQL does not answer (see \(cluster)/server.log)")
  }

  private func launchAnew() async throws {
    // After a kill, processes of the dead server may hold its memory for a moment.
    for attempt in 1... {
      do {
        // Told here and not in the cluster's own file, for the folder may have been moved.
        try await run(
          "pg_ctl", "start", "-D", cluster, "-w", "-t", "120", "-l", cluster + "/server.log",
          "-o", "-c unix_socket_directories='\(sockets.replacingOccurrences(of: "'", with: "'\\''"))'")
        return
      } catch  where attempt < 10 && !Task.isCancelled {
        try await Task.sleep(for: .milliseconds(300))
      }
    }
  }

  private func createDatabase() async throws {
    let superuser = OwnerConnection(.init(url: superuserURL, applicationName: "parley"), logger: logger)
    let result = await superuser.run { (connection) throws(PostgresError) in
      defer { connection.close() }
      try connection.script(
        """
        DO $$ BEGIN
          IF to_regrole('parley') IS NULL THEN CREATE ROLE parley LOGIN CREATEROLE; END IF;
        END $$
        """)
      let databases = Statement("databases", "SELECT 1 FROM pg_database WHERE datname = 'parley'")
      if try connection.run(Command(databases)).count == 0 {
        try connection.script("CREATE DATABASE parley OWNER parley")
      }
    }
    if case .failure(let error) = result { throw Failure(description: "the private PostgreSQL: \(error.message)") }
  }

  private var superuserURL: String { Self.url(sockets: sockets, user: "postgres", database: "postgres") }

  private static func url(sockets: String, user: String, database: String) -> String {
    let host = sockets.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "'", with: "\\'")
    return "host='\(host)' port=5432 user=\(user) dbname=\(database)"
  }

  // MARK: PostgreSQL's programs

  /// Of the version that made the cluster, or the newest.
  private static func findBinaries(forCluster cluster: String) throws -> String {
    let made = try? String(contentsOfFile: cluster + "/PG_VERSION", encoding: .utf8)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let debian = "/usr/lib/postgresql"
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: debian)) ?? []
    let folders =
      versions.sorted { $0.compare($1, options: .numeric) == .orderedDescending }.map { "\(debian)/\($0)/bin" }
      + (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let found = folders.filter { folder in
      ["initdb", "pg_ctl", "postgres"].allSatisfy {
        FileManager.default.isExecutableFile(atPath: "\(folder)/\($0)")
      }
    }
    guard let made else {
      if let newest = found.first { return newest }
      throw Failure(
        description:
          "no PostgreSQL is installed (looked in \(debian) and PATH); install it (on Debian: apt-get install postgresql) or name one with --database-url"
      )
    }
    if let own = found.first(where: { $0.hasPrefix("\(debian)/\(made)/") || !$0.hasPrefix(debian + "/") }) {
      return own
    }
    throw Self.versionFailure(cluster, made)
  }

  /// Programs found in PATH may be of another version than the cluster.
  private func checkVersion() async throws {
    guard
      let made = try? String(contentsOfFile: cluster + "/PG_VERSION", encoding: .utf8)
        .trimmingCharacters(in: .whitespacesAndNewlines)
    else { return }
    let said = try await run("postgres", "--version")
    let version = said.split(separator: " ").dropFirst(2).first ?? ""
    guard version == made || version.hasPrefix(made + ".") else { throw Self.versionFailure(cluster, made) }
  }

  private static func versionFailure(_ cluster: String, _ made: String) -> Failure {
    Failure(
      description:
        "\(cluster) was made by PostgreSQL \(made), which is not installed (on Debian: apt-get install postgresql-\(made))"
    )
  }

  /// - Returns: what it said.
  @discardableResult
  private func run(_ program: String, _ arguments: String...) async throws -> String {
    var options = PlatformOptions()
    options.createSession = true  // A Ctrl-C meant for Parley must not stop PostgreSQL first.
    let command = user.prefix + ["\(binaries)/\(program)"] + arguments
    let result = try await Subprocess.run(
      .path(FilePath(command[0])), arguments: Arguments(Array(command.dropFirst())), workingDirectory: "/",
      platformOptions: options, output: .string(limit: 65_536), error: .string(limit: 65_536))
    guard result.terminationStatus.isSuccess else {
      // initdb tells its plans before its errors.
      let lines = [result.standardError, result.standardOutput].joined(separator: "\n")
        .split(whereSeparator: \.isNewline)
      let said = (lines.first { $0.contains("error:") } ?? lines.first).map(String.init) ?? ""
      let hint = said.contains("Permission denied") ? "; the user \(user.name) must be able to reach it" : ""
      throw Failure(description: "\(program) failed: \(said)\(hint) (see \(cluster)/server.log)")
    }
    return result.standardOutput
  }
}
