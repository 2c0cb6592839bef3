import Logging
import Postgres
import Synchronization

/// Others hold what a migration needs, for longer than it may wait.
struct LockedOut: Error {
  var who: String
}

/// Finds out, over a connection of its own, for whom a statement waits: afterwards nobody could tell.
struct LockWatch {
  private let onlooker: OwnerConnection
  private let pause: Duration
  private let logger: Logger

  /// - Parameter pause: between two looks. Most steps are over before the first, and cost no connection.
  init(_ onlooker: OwnerConnection, every pause: Duration, logger: Logger) {
    self.onlooker = onlooker
    self.pause = pause
    self.logger = logger
  }

  func close() async { await onlooker.close() }

  /// Runs `body`, whose statements begin with the tag it is given, and looks on meanwhile. Throws `LockedOut` where a
  /// lock was not to be had in time.
  func whoBlocks<R>(_ title: String, _ body: (_ tag: String) async throws -> R) async throws -> R {
    // By this the statement is found among all that run, also behind a pooler.
    let tag = "/* parley migration \(title) \(String(UInt64.random(in: .min ... .max), radix: 36)) */ "
    let seen = Seen()
    let looking = Task { await look(for: tag, title, seen) }
    let result: Result<R, any Error>
    do { result = .success(try await body(tag)) } catch { result = .failure(error) }
    looking.cancel()
    await looking.value
    do {
      return try result.get()
    } catch let error as PostgresError where error.isLockedOut {
      throw LockedOut(who: seen.who.withLock { $0 } ?? "others: \(error.message)")
    }
  }

  private final class Seen: Sendable {
    let who = Mutex<String?>(nil)
  }

  private func look(for tag: String, _ title: String, _ seen: Seen) async {
    while (try? await Task.sleep(for: pause)) != nil {
      let blockers = await onlooker.run { (connection) throws(PostgresError) in
        try connection.script(
          """
          SELECT pid, application_name, state, to_char(state_change, 'HH24:MI:SS'), to_char(xact_start, 'HH24:MI:SS')
          FROM (
            SELECT unnest(pg_blocking_pids(pid)) AS pid FROM pg_stat_activity
            WHERE starts_with(query, \(sqlLiteral(tag))) AND wait_event_type = 'Lock'
          ) AS blocking LEFT JOIN pg_stat_activity USING (pid)
          """)
      }
      guard let rows = try? blockers.get(), !rows.isEmpty else { continue }
      let who = rows.map(words).joined(separator: ", and ")
      let isNew = seen.who.withLock { known in
        defer { known = who }
        return known != who
      }
      if isNew {
        logger.notice("a migration waits for a lock", metadata: ["migration": "\(title)", "for": "\(who)"])
      }
    }
  }

  /// Such as "process 4711 (psql), idle in transaction since 12:00:05, its transaction began at 12:00:01". Who may
  /// not see others' sessions sees the process alone.
  private func words(_ row: [String?]) -> String {
    guard let process = row[0], process != "0" else { return "a prepared transaction" }
    var text = "process \(process)"
    if let name = row[1], !name.isEmpty { text += " (\(name))" }
    if let state = row[2], let since = row[3] { text += ", \(state) since \(since)" }
    if let began = row[4] { text += ", its transaction began at \(began)" }
    return text
  }
}
