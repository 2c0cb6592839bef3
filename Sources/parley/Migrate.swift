import ArgumentParser
import CommandSupport
import Logging
import Service

struct Migrate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Migrate a database's schema to what this version needs; serve does so itself.",
    discussion: """
      Running servers go on during the migration and after it. The migration waits for a lock for two seconds at a \
      time, so that programs which queue behind it wait no longer. A migration that was interrupted continues where \
      it stopped.
      """)

  @OptionGroup var database: DatabaseOptions

  @Flag(help: "Show each step and what it locks, and change nothing.")
  var plan = false

  @Flag(
    help: """
      Distribute the tables by tenant over the nodes of Citus, whose extension the database must have. Stop the servers \
      first: see deploy/CITUS.md. Later migrations keep the tables distributed without this flag.
      """)
  var citus = false

  @Option(
    help: ArgumentHelp(
      "After the migration, let only servers start that know this schema version or a later one. Stop older ones first.",
      valueName: "version"))
  var require: Int32?

  func validate() throws {
    if plan, require != nil { throw ValidationError("--plan changes nothing; leave --require out") }
  }

  func run() async throws {
    let url = try database.url()
    let logger = Logger.ofCommand(level: .notice)
    let (check, migrator) = (
      DatabaseCheck(url: url, logger: logger), Migrator(url: url, logger: logger, onProgress: say)
    )
    do {
      try await check.checkBeforeMigrating()
      if plan { return try printLine(try await migrator.plan(distributing: citus).joined(separator: "\n")) }
      let outcome = try await migrator.migrate(distributing: citus)
      try await check.checkAfterMigrating()
      if let notice = outcome.notice { say(notice) }
      let applied = outcome.applied.joined(separator: ", ")
      var lines = [applied.isEmpty ? "the schema is up to date" : "applied: \(applied)"]
      if outcome.isDistributedNow { lines.append("the tables are distributed by tenant over the nodes of Citus") }
      if let require {
        let schema = try await migrator.require(require)
        lines.append("from now on only a parley that knows version \(schema.oldestAllowed) or later starts here")
      }
      try printLine(lines.joined(separator: "\n"))
    } catch let failure as DatabaseCheck.Failure {
      throw CommandFailure(failure.description)
    } catch let failure as Migrator.Failure {
      throw CommandFailure(failure.description)
    }
  }
}

extension Logger {
  /// For what a command's parts say on standard error beside its own words.
  static func ofCommand(level: Logger.Level) -> Logger {
    var logger = Logger(label: "parley", factory: { StreamLogHandler.standardError(label: $0) })
    logger.logLevel = level
    return logger
  }
}
