import Logging
import Synchronization
import TestSupport

@testable import Service

extension Migration {
  /// Every migration there is, and then one more of these steps.
  static func all(and name: String, oldestVersion: Int32 = 1, _ steps: Step...) -> [Migration] {
    let version = all.last!.version + 1
    return all + [Migration(version: version, name: name, oldestVersion: oldestVersion, steps: steps)]
  }

  func replacing(_ text: String, with other: String) -> Migration {
    var migration = self
    migration.steps = steps.map { step in
      guard case .transaction(let sql, let locks) = step else { return step }
      return .transaction(sql.replacing(text, with: other), locks: locks)
    }
    return migration
  }
}

extension TestDatabase {
  /// A migrator that soon tries again.
  func migrator(_ log: LinesOfLog = LinesOfLog(), lockTimeout: Duration = .milliseconds(200)) -> Migrator {
    Migrator(url: url, logger: log.logger, lockTimeout: lockTimeout, pauseMax: .milliseconds(20), onProgress: log.add)
  }
}

/// What was logged, line by line.
final class LinesOfLog: Sendable {
  private let lines = Mutex<[String]>([])

  var all: [String] { lines.withLock { $0 } }

  func add(_ line: String) { lines.withLock { $0.append(line) } }

  func holds(_ texts: String...) -> Bool {
    all.contains { line in texts.allSatisfy { line.contains($0) } }
  }

  var logger: Logger {
    var logger = Logger(label: "test") { _ in Handler(lines: self) }
    logger.logLevel = .trace
    return logger
  }

  private struct Handler: LogHandler {
    let lines: LinesOfLog
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      let metadata = (event.metadata ?? [:]).map { "\($0)=\($1)" }.sorted()
      lines.add((["\(event.level): \(event.message)"] + metadata).joined(separator: " "))
    }
  }
}
