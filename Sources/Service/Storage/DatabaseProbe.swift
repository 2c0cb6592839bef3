import Core
import Logging
import Postgres
import Synchronization

/// What a look at the database finds.
public enum DatabaseState: Equatable, Sendable {
  case fit
  /// - Parameter isCertain: the database said so itself. Otherwise it said nothing in time, or was not to be reached,
  ///   which may be over in a moment.
  case unfit(String, isCertain: Bool)
}

/// Looks whether the database is fit to serve: it answers, can be written, and row security binds the readers.
///
/// It owns a connection that is for nothing else, so that it waits behind nobody.
final class DatabaseProbe: Sendable {
  private let connection: OwnerConnection
  private let isLooking = Atomic<Bool>(false)
  private let limit: Duration

  init(url: String, limit: Duration = .seconds(Limits.healthCheckSecondsMax), logger: Logger) {
    self.limit = limit
    connection = OwnerConnection(
      ConnectionConfiguration(url: url, statementTimeout: limit, grace: .seconds(1)), logger: logger)
  }

  /// What is not known in time is not waited for; its end is, before it is looked again.
  func look() async -> DatabaseState {
    let late = DatabaseState.unfit("PostgreSQL does not answer within \(limit.components.seconds) s", isCertain: false)
    if isLooking.exchange(true, ordering: .acquiring) { return late }
    return await withCheckedContinuation { continuation in
      let first = First(continuation)
      let alarm = Task { [limit] in
        try? await Task.sleep(for: limit)
        first.resume(late)
      }
      Task {
        let state = await state()
        isLooking.store(false, ordering: .releasing)
        first.resume(state)
        alarm.cancel()
      }
    }
  }

  private func state() async -> DatabaseState {
    let fault = await connection.runRepeatable { (connection) throws(PostgresError) in
      guard let fault = try DatabaseFault(probing: connection) else { return nil as String? }
      // Some of it is the session's, which keeps what it began with.
      connection.close()
      return fault.ofWrites ?? fault.ofReads
    }
    switch fault {
    case .success(nil): return .fit
    case .success(let fault?): return .unfit(fault, isCertain: true)
    case .failure(let error): return .unfit(error.message, isCertain: error.isSchemaWrong)
    }
  }
}

/// What keeps a database from serving, with its mend where there is one.
struct DatabaseFault {
  /// Why it cannot be written.
  var ofWrites: String?
  /// Why readers would not see exactly the rows of their tenant.
  var ofReads: String?

  /// nil where there is none.
  init?(probing session: Session) throws(PostgresError) {
    guard let row = try session.run(Command(.probe)).first(where: { _ in true }) else {
      throw PostgresError(kind: .unexpectedResponse, message: "probe.sql answered with no row")
    }
    ofWrites = row.isNull(0) ? nil : try row.text(0)
    ofReads = row.isNull(1) ? nil : try row.text(1)
    if ofWrites == nil, ofReads == nil { return nil }
  }
}

extension Statement {
  fileprivate static let probe = Statement("probe", PackageResources.probe_sql)
}

extension PostgresError {
  /// A role, a schema or a table that the statement names is not there, or is not to be seen.
  fileprivate var isSchemaWrong: Bool {
    if case .refused(let sqlState) = kind { sqlState.hasPrefix("42") || sqlState == "3F000" } else { false }
  }
}

/// Resumes a continuation with what comes first.
private final class First<Value: Sendable>: Sendable {
  private let continuation: Mutex<CheckedContinuation<Value, Never>?>

  init(_ continuation: CheckedContinuation<Value, Never>) {
    self.continuation = Mutex(continuation)
  }

  func resume(_ value: Value) {
    continuation.withLock { $0.take() }?.resume(returning: value)
  }
}

/// Says from one look after the other whether the server is ready: what the database says itself counts at once, one
/// look that it left without a response does not.
public struct Readiness: Sendable {
  public private(set) var isReady = true
  private var uncertainCount = 0

  public init() {}

  public mutating func look(_ state: DatabaseState) {
    switch state {
    case .fit: (isReady, uncertainCount) = (true, 0)
    case .unfit(_, isCertain: true): isReady = false
    case .unfit(_, isCertain: false):
      uncertainCount += 1
      if uncertainCount >= 2 { isReady = false }
    }
  }
}
