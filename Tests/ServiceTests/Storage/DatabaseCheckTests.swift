import Core
import Foundation
import TestSupport
import Testing

@testable import Service

/// What cannot work is refused in one sentence that says how to mend it.
@Suite(.timeLimit(.minutes(5))) struct DatabaseCheckTests {
  private func refusal(_ body: () async throws -> Void) async -> String? {
    do { try await body() } catch { return (error as? DatabaseCheck.Failure)?.description ?? "\(error)" }
    return nil
  }

  private func check(_ url: String) -> DatabaseCheck { DatabaseCheck(url: url, logger: .silent) }

  @Test func takesADatabaseThatWorks() async throws {
    try await TestDatabase.with { database in
      try await database.withStore { _ = try await $0.record(.sample()).get() }
      try await check(database.url).checkBeforeMigrating()
      try await check(database.url).checkAfterMigrating()
    }
  }

  @Test func refusesAnotherEncoding() async throws {
    let server = try DatabaseSession.server()
    let name = "latin_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
    try server.sql("CREATE DATABASE \(name) ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    defer { _ = try? server.sql("DROP DATABASE \(name) WITH (FORCE)") }
    try await TestDatabase.with(migrated: false) { database in
      let refusal = await refusal { try await check("\(database.url) dbname=\(name)").checkBeforeMigrating() }
      #expect(refusal?.contains("LATIN1") == true && refusal?.contains("ENCODING 'UTF8'") == true, "\(refusal ?? "")")
    }
  }

  @Test func refusesARoleWithoutRowSecurity() async throws {
    try await TestDatabase.with { database in
      let name = try database.sql("SELECT current_database()")[0][0]
      try database.sql("ALTER DATABASE \(name) SET row_security = off")
      let refusal = await refusal { try await check(database.url).checkBeforeMigrating() }
      #expect(refusal?.contains("row_security is off") == true, "\(refusal ?? "")")
      #expect(refusal?.contains("run: ALTER DATABASE \(name) RESET row_security") == true, "\(refusal ?? "")")
    }
  }

  @Test func refusesAnEmptyDatabaseThatIsReadOnly() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let name = try database.sql("SELECT current_database()")[0][0]
      try database.sql("ALTER DATABASE \(name) SET default_transaction_read_only = on")
      let refusal = await refusal { try await check(database.url).checkBeforeMigrating() }
      #expect(refusal?.contains("RESET default_transaction_read_only") == true, "\(refusal ?? "")")
    }
  }

  /// No wait heals these, so nobody waits.
  @Test(arguments: [
    ("dbname=no_such_database", "CREATE DATABASE"), ("user=no_such_user", "does not let the user in"),
    ("nonsense=1", "cannot be read"),
  ])
  func tellsAtOnceWhatNoWaitHeals(option: String, words: String) async throws {
    try await TestDatabase.with(migrated: false) { database in
      let failure = await #expect(throws: DatabaseCheck.Failure.self) {
        try await check("\(database.url) \(option)").checkBeforeMigrating()
      }
      #expect(failure?.isConnectionLost == false)
      #expect(failure?.description.contains(words) == true, "\(failure?.description ?? "")")
    }
  }

  @Test(arguments: [
    ("REVOKE SELECT ON parley.interactions FROM parley_reader", "GRANT SELECT ON parley.interactions TO parley_reader"),
    ("REVOKE USAGE ON SCHEMA parley FROM parley_reader", "GRANT USAGE ON SCHEMA parley TO parley_reader"),
    ("DROP POLICY own_tenant ON parley.deltas", "own_tenant of parley.deltas"),
    ("ALTER POLICY own_tenant ON parley.rollups USING (true)", "own_tenant of parley.rollups"),
  ])
  func refusesReadersThatSeeOtherRowsThanTheirTenantsAlsoOfAnEmptyDatabase(damage: String, mend: String) async throws {
    try await TestDatabase.with { database in
      try database.sql(damage)
      let refusal = await refusal { try await check(database.url).checkAfterMigrating() }
      #expect(refusal?.contains(mend) == true, "\(refusal ?? "")")
    }
  }

  @Test func refusesAUserThatCannotTakeTheReadersRole() async throws {
    try await TestDatabase.with { database in
      let user = "user_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
      try database.sql(
        "CREATE ROLE \(user) LOGIN; GRANT USAGE ON SCHEMA parley TO \(user); GRANT SELECT ON parley.tenants TO \(user)")
      defer { _ = try? database.sql("DROP OWNED BY \(user); DROP ROLE \(user)") }
      let refusal = await refusal { try await check("\(database.url) user=\(user)").checkAfterMigrating() }
      #expect(refusal?.contains("GRANT parley_reader") == true, "\(refusal ?? "")")
    }
  }

  /// Each way to have row security not in force, also where there is nothing to see yet.
  @Test(arguments: [
    "ALTER TABLE parley.rollups DISABLE ROW LEVEL SECURITY",
    "CREATE POLICY everything ON parley.interactions FOR SELECT TO parley_reader USING (true)",
    "CREATE TABLE parley.extra (tenant int); GRANT SELECT ON parley.extra TO parley_reader",
  ])
  func refusesRowSecurityThatIsNotInForce(_ damage: String) async throws {
    try await TestDatabase.with { database in
      try await database.withStore { _ = try await $0.record(.sample()).get() }
      try database.sql(damage)
      let refusal = await refusal { try await check(database.url).checkAfterMigrating() }
      #expect(refusal?.contains("row security is not in force on parley.") == true, "\(refusal ?? "")")
    }
  }

  @Test(.notDistributed(.partitionsOfRows)) func waitsForNoMonthThatSomebodyHasLocked() async throws {
    try await TestDatabase.with { database in
      try await database.withStore { _ = try await $0.record(.sample()).get() }
      let session = try database.session()
      try session.sql("BEGIN; LOCK TABLE parley.interactions_early IN ACCESS EXCLUSIVE MODE")
      try await check(database.url).checkAfterMigrating()
      // The others are looked at all the same.
      try database.sql("CREATE POLICY everything ON parley.rollups FOR SELECT TO parley_reader USING (true)")
      let refusal = await refusal { try await check(database.url).checkAfterMigrating() }
      #expect(refusal?.contains("row security is not in force on parley.rollups:") == true, "\(refusal ?? "")")
      try session.unlock()
    }
  }

  @Test func doesNotRefuseADatabaseThatIsReadOnlyForNow() async throws {
    try await TestDatabase.with { database in
      let name = try database.sql("SELECT current_database()")[0][0]
      try database.sql("ALTER DATABASE \(name) SET default_transaction_read_only = on")
      try await check(database.url).checkBeforeMigrating()
      try await check(database.url).checkAfterMigrating()
    }
  }

  @Test func tellsADatabaseThatIsAwayFromOneThatCannotWork() async throws {
    let failure = await #expect(throws: DatabaseCheck.Failure.self) {
      try await check("host=/nowhere/at/all").checkBeforeMigrating()
    }
    #expect(failure?.isConnectionLost == true)
  }
}
