import Logging
import TestSupport
import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(5))) struct OwnerConnectionTests {
  private func withConnection(
    _ body: (OwnerConnection) async throws -> Void
  ) async throws {
    try await TestDatabase.with(migrated: false) { database in
      try await body(OwnerConnection(.init(url: database.url, applicationName: "test"), logger: .silent))
    }
  }

  private static func number(_ rows: Rows) throws(PostgresError) -> Int32 {
    try rows.first { _ in true }!.int32(0)
  }

  @Test func answersEachCommandInOrder() async throws {
    let echo = Statement("echo", "SELECT $1::int4")
    try await withConnection { connection in
      for _ in 0..<3 {
        let answers = try await connection.run { (connection) throws(PostgresError) in
          let rows = try connection.pipeline((0..<500).map { number in Command(echo) { $0.add(Int32(number)) } })
          return try rows.map { (rows) throws(PostgresError) in try Self.number(rows) }
        }.get()
        #expect(answers == (0..<500).map(Int32.init))
      }
      let none = await connection.run { (connection) throws(PostgresError) in try connection.pipeline([]).count }
      #expect(try none.get() == 0)
    }
  }

  @Test func sendsAndReadsManyMebibytesAtOnce() async throws {
    let length = Statement("length", "SELECT octet_length($1::text), repeat('y', 500000)")
    let text = String(repeating: "x", count: 1_000_000)
    try await withConnection { connection in
      let lengths = try await connection.run { (connection) throws(PostgresError) in
        let answers = try connection.pipeline(Array(repeating: Command(length) { $0.add(text) }, count: 24))
        return try answers.map { (rows) throws(PostgresError) in
          (try Self.number(rows), try rows.first { _ in true }!.text(1).utf8.count)
        }
      }.get()
      #expect(lengths.count == 24)
      #expect(lengths.allSatisfy { $0 == (1_000_000, 500_000) })
    }
  }

  /// Where a pipeline fails, with and without a transaction of its own, nothing of it stands and the next one works.
  @Test(arguments: [false, true]) func isInOrderAfterARefusal(inTransaction: Bool) async throws {
    let insert = Statement("insert", "INSERT INTO t VALUES ($1::int4)")
    let count = Statement("count", "SELECT count(*)::int4 FROM t")
    try await withConnection { connection in
      let backend = Statement("backend", "SELECT pg_backend_pid()")
      let before = try await connection.run { (connection) throws(PostgresError) in
        try connection.script("CREATE TABLE t (a int UNIQUE)")
        return try Self.number(connection.run(Command(backend)))
      }.get()
      for _ in 0..<2 {
        let refused = await connection.run { (connection) throws(PostgresError) in
          let inserts = [1, 2, 1, 3].map { number in Command(insert) { $0.add(Int32(number)) } }
          _ = try connection.pipeline(inTransaction ? [Command(.begin)] + inserts + [Command(.commit)] : inserts)
        }
        guard case .failure(let error) = refused, case .refused("23505") = error.kind else {
          Issue.record("\(refused)")
          return
        }
        let (counted, backend) = try await connection.run { (connection) throws(PostgresError) in
          (try Self.number(connection.run(Command(count))), try Self.number(connection.run(Command(backend))))
        }.get()
        #expect(counted == 0)
        #expect(backend == before, "a refusal is no reason to connect anew")
      }
    }
  }

  @Test func isInOrderAfterAStatementThatCannotBePrepared() async throws {
    try await withConnection { connection in
      let refused = await connection.run { (connection) throws(PostgresError) in
        try connection.run(Command(Statement("wrong", "SELEC 1"))).count
      }
      guard case .failure(let error) = refused, case .refused("42601") = error.kind else {
        Issue.record("\(refused)")
        return
      }
      let right = try await connection.run { (connection) throws(PostgresError) in
        try Self.number(connection.run(Command(Statement("wrong", "SELECT 1"))))
      }.get()
      #expect(right == 1)
    }
  }

  /// A pooler's DISCARD ALL takes the statements, and a changed table their results.
  @Test(arguments: [
    ("DISCARD ALL", "26000"), ("DEALLOCATE ALL", "26000"), ("ALTER TABLE t ALTER a TYPE bigint USING a", "0A000"),
  ])
  func preparesAnewWhatWasLost(by loss: String, sqlState: String) async throws {
    try await withConnection { connection in
      let select = Command(Statement("select", "SELECT a FROM t"))
      func count() async -> Result<Int, PostgresError> {
        await connection.run { (connection) throws(PostgresError) in try connection.run(select).count }
      }
      func run(_ text: String) async throws {
        _ = try await connection.run { (connection) throws(PostgresError) in try connection.script(text) }.get()
      }
      try await run("CREATE TABLE t (a int); INSERT INTO t VALUES (7)")
      #expect(try await count().get() == 1)
      try await run(loss)
      guard case .failure(let error) = await count(), case .refused(sqlState) = error.kind else {
        Issue.record("\(loss) had no effect")
        return
      }
      #expect(error.isTransient)
      #expect(try await count().get() == 1)

      try await run("ALTER TABLE t ALTER a TYPE int; DISCARD PLANS")
      _ = await count()
      try await run(loss)
      let again = await connection.runRepeatable { (connection) throws(PostgresError) in
        try connection.run(select).count
      }
      #expect(try again.get() == 1)
    }
  }

  @Test func takesOtherTextUnderTheSameLabelForAnotherStatement() async throws {
    let (one, other) = (Statement("same", "SELECT 1"), Statement("same", "SELECT 2"))
    #expect(one != other)
    try await withConnection { connection in
      let numbers = try await connection.run { (connection) throws(PostgresError) in
        try connection.pipeline([one, other, one].map { Command($0) })
          .map { (rows) throws(PostgresError) in try Self.number(rows) }
      }.get()
      #expect(numbers == [1, 2, 1])
    }
  }

  @Test(arguments: [PreparedStatements.on, .off, .auto])
  func preparesByNameWhereItIsTold(_ choice: PreparedStatements) async throws {
    let count = Command(
      Statement("count", "SELECT count(*)::int4 FROM pg_prepared_statements WHERE name LIKE 'count%'"))
    try await TestDatabase.with(migrated: false) { database in
      let configuration = ConnectionConfiguration(
        url: database.url, applicationName: "test", preparedStatements: choice)
      let connection = OwnerConnection(configuration, logger: .silent)
      let prepared = try await connection.run { (connection) throws(PostgresError) in
        try Self.number(connection.run(count))
      }.get()
      #expect(prepared == (choice == .off ? 0 : 1))
      #expect(await connection.isPooled == false)
    }
  }

  /// A transaction without BEGIN commits at the pipeline's end, and may fail there.
  @Test func throwsWhatOnlyTheCommitRefuses() async throws {
    try await withConnection { connection async throws in
      let insert = Command(Statement("insert", "INSERT INTO t VALUES (1)"))
      let refused = await connection.run { (connection) throws(PostgresError) in
        try connection.script(
          "CREATE TABLE t (a int, CONSTRAINT once UNIQUE (a) DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1)")
        _ = try connection.run(insert)
      }
      guard case .failure(let error) = refused, case .refused("23505") = error.kind else {
        Issue.record("\(refused)")
        return
      }
      let count = Command(Statement("rows", "SELECT count(*)::int4 FROM t"))
      let left = await connection.run { (connection) throws(PostgresError) in try Self.number(connection.run(count)) }
      #expect(try left.get() == 1)
    }
  }

  @Test func commitsDurablyWhateverTheDefault() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let name = try database.sql("SELECT current_database()")[0][0]
      try database.sql("ALTER DATABASE \(name) SET synchronous_commit = off")
      #expect(try database.sql("SHOW synchronous_commit") == [["off"]])
      let connection = OwnerConnection(.init(url: database.url, applicationName: "test"), logger: .silent)
      let setting = try await connection.run { (connection) throws(PostgresError) in
        try connection.run(Command(Statement("s", "SELECT current_setting('synchronous_commit')")))
          .first { _ in true }!.text(0)
      }.get()
      #expect(setting == "on")
    }
  }

  /// PostgreSQL says nothing for too long, and what it answers is still to come: nobody else may take that for theirs.
  @Test func isAnotherAfterAScriptThatDidNotEnd() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let connection = OwnerConnection(
        .init(url: database.url, applicationName: "test", statementTimeout: .seconds(2), grace: .seconds(1)),
        logger: .silent)
      func script(_ text: String) async -> Result<[[String?]], PostgresError> {
        await connection.run { (session) throws(PostgresError) in try session.script(text) }
      }
      _ = try await script("SET statement_timeout = 0").get()
      let before = try await script("SELECT pg_backend_pid()").get()
      guard case .failure(let error) = await script("SELECT 'late' FROM pg_sleep(600)") else {
        Issue.record("it ended")
        return
      }
      #expect(error.isConnectionLost)
      #expect(await !connection.isOpen())
      let after = try await script("SELECT pg_backend_pid()").get()
      #expect(after.count == 1 && after != before && after != [["late"]])
    }
  }
}
