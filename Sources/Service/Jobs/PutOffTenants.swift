import Core
import Logging
import Postgres
import Synchronization

/// Tenants whose work failed, such as by a row that somebody has locked. Each is put off for a growing while, so that it
/// costs the others nothing. Bounded in number, and shared by the jobs that work on the same tables.
final class PutOffTenants: Sendable {
  private struct Failed {
    var backoff = Backoff(from: .seconds(1), to: .seconds(60))
    var due = Duration.zero
  }

  private let clock: JobClock
  private let logger: Logger
  private let failed = Mutex<[TenantKey: Failed]>([:])

  init(clock: JobClock = .machine, logger: Logger) {
    self.clock = clock
    self.logger = logger
  }

  /// Those that are not due yet.
  var tenants: [TenantKey] {
    let now = clock.now()
    return failed.withLock { $0.filter { $0.value.due > now }.map(\.key) }
  }

  /// Whether its last try failed.
  func contains(_ tenant: TenantKey) -> Bool { failed.withLock { $0[tenant] != nil } }

  func putOff(_ tenant: TenantKey) {
    let now = clock.now()
    failed.withLock { failed in
      guard failed.count < Limits.tenantsPutOffMax || failed[tenant] != nil else { return }
      var entry = failed[tenant] ?? Failed()
      entry.due = now + entry.backoff.nextPause()
      failed[tenant] = entry
    }
  }

  /// Does what is one tenant's; where that fails, the tenant is put off.
  ///
  /// - Returns: nil where it failed, or `body` has nothing to return.
  func attempt<R>(_ tenant: TenantKey, _ body: () throws(PostgresError) -> R?) throws(PostgresError) -> R? {
    do throws(PostgresError) {
      let result = try body()
      failed.withLock { $0[tenant] = nil }
      return result
    } catch {
      guard error.mayBeOfOneTenant else { throw error }
      putOff(tenant)
      if !error.isTransient {
        logger.warning(
          "the work of a tenant failed and is put off",
          metadata: ["tenant_key": "\(tenant.rawValue)", "reason": "\(error.message)"])
      }
      return nil
    }
  }
}

extension PostgresError {
  /// It may be about what one tenant has: a lock, a conflict, a value. Not so where the server, the role or the schema is
  /// to blame.
  var mayBeOfOneTenant: Bool {
    switch kind {
    case .refused(let sqlState):
      !["08", "0A", "25", "26", "28", "3D", "3F", "42", "53", "58"].contains(String(sqlState.prefix(2)))
        && !sqlState.hasPrefix("57P")
    case .unexpectedResponse: true
    case .connectionLost, .cancelled, .checkFailed: false
    }
  }
}
