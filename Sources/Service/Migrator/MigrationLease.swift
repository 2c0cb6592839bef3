import Foundation
import Postgres

/// The right to do what must run outside a transaction: the row `migrations` of `parley.leases`. It is renewed while
/// the work goes on, and others may take it some time after its holder has died.
struct MigrationLease {
  private static let seconds = 60

  private let connection: OwnerConnection
  private let holder: String

  init(_ connection: OwnerConnection) {
    self.connection = connection
    holder = "parley \(getpid()) on \(Self.hostName) (\(UInt32.random(in: .min ... .max)))"
  }

  /// Runs `work` while it holds the lease. Throws `LockedOut` where another holds it.
  func holding(_ work: () async throws -> Void) async throws {
    guard try await take() else {
      let rows = try await ask(
        "SELECT holder, to_char(expires_at, 'HH24:MI:SS') FROM parley.leases WHERE name = 'migrations'")
      throw LockedOut(
        who: "the migrator \(rows.first?[0] ?? "of another server"), whose lease ends at \(rows.first?[1] ?? "once")")
    }
    let renewing = Task {
      while (try? await Task.sleep(for: .seconds(Self.seconds / 4))) != nil { _ = try? await take() }
    }
    let result: Result<Void, any Error>
    do { result = .success(try await work()) } catch { result = .failure(error) }
    renewing.cancel()
    await renewing.value
    // Also when this task was cancelled.
    await Task { await release() }.value
    try result.get()
  }

  private func take() async throws -> Bool {
    try await !ask(
      """
      UPDATE parley.leases SET holder = \(sqlLiteral(holder)), expires_at = now() + interval '\(Self.seconds) s'
      WHERE name = 'migrations' AND (holder IS NULL OR holder = \(sqlLiteral(holder)) OR expires_at < now())
      RETURNING holder
      """
    ).isEmpty
  }

  private func release() async {
    _ = try? await ask(
      """
      UPDATE parley.leases SET holder = NULL, expires_at = '-infinity'
      WHERE name = 'migrations' AND holder = \(sqlLiteral(holder))
      """)
  }

  private func ask(_ text: String) async throws -> [[String?]] {
    try await connection.run { (connection) throws(PostgresError) in try connection.script(text) }.get()
  }

  private static var hostName: String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, 255) == 0 else { return "a host without a name" }
    return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
