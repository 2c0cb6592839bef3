import Core
import Postgres
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct ProbeTests {
  private func withProbe(_ body: (DatabaseProbe, TestDatabase) async throws -> Void) async throws {
    try await TestDatabase.with { database in
      // However busy the machine is.
      try await body(DatabaseProbe(url: database.url, limit: .seconds(60), logger: .silent), database)
    }
  }

  private func expectUnfit(_ probe: DatabaseProbe, _ words: String) async {
    guard case .unfit(let reason, isCertain: true) = await probe.look() else {
      Issue.record("the database passes for fit")
      return
    }
    #expect(reason.contains(words))
  }

  @Test func aDatabaseThatCanBeWrittenIsFit() async throws {
    try await withProbe { probe, _ in
      #expect(await probe.look() == .fit)
      #expect(await probe.look() == .fit)
    }
  }

  @Test func aReadOnlyDatabaseIsNotFit() async throws {
    try await withProbe { probe, database in
      let name = try database.sql("SELECT current_database()")[0][0]
      try database.sql("ALTER DATABASE \(name) SET default_transaction_read_only = on")
      await expectUnfit(probe, "read-only")
      try database.sql("SET transaction_read_only = off; ALTER DATABASE \(name) RESET default_transaction_read_only")
      #expect(await probe.look() == .fit)
    }
  }

  @Test(arguments: ["interactions", "deltas", "rollups", "postings"])
  func aTableWithoutRowSecurityIsNotFit(table: String) async throws {
    try await withProbe { probe, database in
      try database.sql("ALTER TABLE parley.\(table) DISABLE ROW LEVEL SECURITY")
      await expectUnfit(probe, "row security")
      try database.sql("ALTER TABLE parley.\(table) ENABLE ROW LEVEL SECURITY")
      #expect(await probe.look() == .fit)
    }
  }

  @Test func aPolicyThatShowsMoreThanTheTenantIsNotFit() async throws {
    try await withProbe { probe, database in
      try database.sql("CREATE POLICY everything ON parley.rollups FOR SELECT TO parley_reader USING (true)")
      await expectUnfit(probe, "policy")
      try database.sql("DROP POLICY everything ON parley.rollups")
      #expect(await probe.look() == .fit)
    }
  }

  @Test func aSessionWithoutRowSecurityIsNotFit() async throws {
    try await withProbe { probe, database in
      let name = try database.sql("SELECT current_database()")[0][0]
      try database.sql("ALTER DATABASE \(name) SET row_security = off")
      await expectUnfit(probe, "row_security")
    }
  }

  @Test(arguments: [
    ("REVOKE SELECT ON parley.interactions FROM parley_reader", "GRANT SELECT ON parley.interactions TO parley_reader"),
    ("REVOKE USAGE ON SCHEMA parley FROM parley_reader", "GRANT USAGE ON SCHEMA parley TO parley_reader"),
    ("DROP POLICY own_tenant ON parley.interactions", "own_tenant of parley.interactions"),
    ("ALTER POLICY own_tenant ON parley.rollups USING (true)", "own_tenant of parley.rollups"),
    ("ALTER POLICY own_tenant ON parley.interactions USING (deleted_at IS NULL)", "own_tenant of parley.interactions"),
    ("ALTER POLICY own_tenant ON parley.postings TO CURRENT_USER", "own_tenant of parley.postings"),
  ])
  func readersThatSeeOtherRowsThanTheirTenantsAreNotFit(damage: String, mend: String) async throws {
    try await withProbe { probe, database in
      #expect(await probe.look() == .fit)
      try database.sql(damage)
      await expectUnfit(probe, mend)
    }
  }

  /// The session of the probe began before.
  @Test(arguments: [
    ("default_transaction_read_only = on", "read-only"), ("row_security = off", "row_security"),
  ])
  func whatNewSessionsBeginWithIsNotFit(setting: String, words: String) async throws {
    try await withProbe { probe, database in
      #expect(await probe.look() == .fit)
      let name = try database.sql("SELECT current_database()")[0][0]
      try database.sql("ALTER DATABASE \(name) SET \(setting)")
      await expectUnfit(probe, words)
      try database.sql("SET transaction_read_only = off; ALTER DATABASE \(name) RESET ALL")
      #expect(await probe.look() == .fit)
    }
  }

  /// Every look at the database passes where its disk is full.
  @Test(.notDistributed(.ownTriggers)) func recordsThatAllFailAreNotFit() async throws {
    try await TestDatabase.with { database in
      var configuration = PostgresStore.Configuration(url: database.url, statementTimeout: .seconds(600))
      configuration.failingMax = .milliseconds(300)
      try await database.withStore(configuration) { store in
        try await database.warmUp(store)
        try database.sql(
          """
          CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN RAISE disk_full USING MESSAGE = 'no space left on device'; END $$;
          CREATE TRIGGER full_disk BEFORE INSERT ON parley.interactions FOR EACH ROW EXECUTE FUNCTION full_disk();
          """)
        try await eventually("the database passes for fit") { await store.databaseState() == .fit }
        try await eventually("recording counts as broken") {
          _ = await #expect(throws: RPCError.self) { try await store.record(.sample()).get() }
          guard case .unfit(let reason, isCertain: true) = await store.databaseState() else { return false }
          return reason.contains("no batch has been written") && reason.contains("no space left")
        }
        try database.sql("DROP TRIGGER full_disk ON parley.interactions")
        _ = try await store.record(.sample()).get()
        try await eventually("it is over") { await store.databaseState() == .fit }
      }
    }
  }

  @Test(.notDistributed(.ownTriggers)) func aDatabaseThatRefusesEveryRowIsNotFit() async throws {
    try await TestDatabase.with { database in
      var configuration = database.patient()
      configuration.failingMax = .milliseconds(300)
      try await database.withStore(configuration) { store in
        try await database.warmUp(store)
        try database.sql(
          "ALTER TABLE parley.interactions ADD CONSTRAINT nothing CHECK (model_used = 'no model') NOT VALID")
        /// Whether it counts as broken by now, some refusals later.
        func isBroken(by tenants: [Tenant]) async throws -> Bool {
          for tenant in tenants {
            #expect(try await store.record(.sample(), for: tenant).reason == .interactionRefused)
          }
          guard case .unfit(let reason, isCertain: true) = await store.databaseState() else { return false }
          return reason.contains("refused every row") && reason.contains("nothing")
        }
        let begun = ContinuousClock.now
        while ContinuousClock.now - begun < .seconds(1) { #expect(try await !isBroken(by: [.a])) }
        try await eventually("recording counts as broken") { try await isBroken(by: [.a, .b]) }
        try database.sql("ALTER TABLE parley.interactions DROP CONSTRAINT nothing")
        _ = try await store.record(.sample()).get()
        try await eventually("it is over") { await store.databaseState() == .fit }
      }
    }
  }

  @Test func aDatabaseWithoutTheSchemaIsNotFit() async throws {
    try await TestDatabase.with(migrated: false) { database in
      await expectUnfit(DatabaseProbe(url: database.url, limit: .seconds(60), logger: .silent), "parley")
    }
  }

  @Test func whatIsNotThereIsNotFitAndNotCertain() async throws {
    let probe = DatabaseProbe(url: "host=/nowhere/at/all", limit: .seconds(60), logger: .silent)
    guard case .unfit(_, isCertain: false) = await probe.look() else {
      Issue.record("it passes for certain")
      return
    }
  }

  @Test func doesNotWaitBehindCallsThatWaitForTheirTenant() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let session = try database.session()
      try session.sql("BEGIN; LOCK TABLE parley.tenants IN ACCESS EXCLUSIVE MODE")
      let calls = Calls(50) { _ throws(RPCError) in try await store.record(.sample(), for: .b) }
      try await eventually("a call waits in the database") { try session.waitsForLock(.owner) }
      try await eventually("the database is fit") { await store.databaseState() == .fit }
      #expect(calls.answers.isEmpty)
      try session.unlock()
      _ = await calls.all()
    }
  }

  @Test func aWriterThatIsStuckIsNotFit() async throws {
    try await TestDatabase.with { database in
      var configuration = database.patient()
      configuration.batchMax = .milliseconds(100)
      try await database.withStore(configuration) { store in
        try await database.warmUp(store)
        let session = try database.session()
        try session.lockInteractions(against: .writers)
        let call = Calls(1) { _ throws(RPCError) in try await store.record(.sample()) }
        try await eventually("the batch has taken long") {
          if case .unfit(let reason, isCertain: true) = await store.databaseState() {
            reason.contains("batch")
          } else {
            false
          }
        }
        try session.unlock()
        _ = try await call.all()[0].get().get()
        try await eventually("it is over") { await store.databaseState() == .fit }
      }
    }
  }
}
