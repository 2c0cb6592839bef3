import Domain
import TestSupport
import Testing

@testable import Store

@Suite(.timeLimit(.minutes(5))) struct PostgresConnectionTests {
  private func withConnection(
    _ body: (PostgresConnection) async throws -> Void
  ) async throws {
    try await TestDatabase.with(migrated: false) { database in
      try await body(PostgresConnection(.init(url: database.url), purpose: .owner, logger: .silent))
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
      #expect(error.isTransient && !error.blamesTheRow)
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
      let configuration = PostgresConnection.Configuration(url: database.url, preparedStatements: choice)
      let connection = PostgresConnection(configuration, purpose: .owner, logger: .silent)
      let prepared = try await connection.run { (connection) throws(PostgresError) in
        try Self.number(connection.run(count))
      }.get()
      #expect(prepared == (choice == .off ? 0 : 1))
      #expect(await connection.stay { $0.isPooled } == false)
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
      let connection = PostgresConnection(.init(url: database.url), purpose: .owner, logger: .silent)
      let setting = try await connection.run { (connection) throws(PostgresError) in
        try connection.run(Command(Statement("s", "SELECT current_setting('synchronous_commit')")))
          .first { _ in true }!.text(0)
      }.get()
      #expect(setting == "on")
    }
  }
}

@Suite struct PostgresErrorTests {
  @Test(arguments: [
    ("57P01", RPCError.Code.unavailable), ("57P03", .unavailable), ("53300", .unavailable), ("58030", .unavailable),
    ("08006", .unavailable), ("25006", .unavailable), ("57014", .deadlineExceeded), ("22003", .outOfRange),
    ("42P01", .internal), ("42501", .internal), ("XX000", .internal), ("", .internal),
  ])
  func tellsTheCallerTheKindAndOnlyTheLogTheWords(sqlState: String, code: RPCError.Code) {
    let error = PostgresError(kind: .refused(sqlState: sqlState), message: "words of PostgreSQL").rpcError
    #expect(error.code == code)
    #expect(!error.message.contains("words of PostgreSQL"))
    #expect(error.cause?.contains("words of PostgreSQL") == true)
    #expect((error.retryAfter != nil) == (code == .unavailable))
  }

  @Test func tellsWhatIsNotOfPostgreSQL() {
    #expect(
      PostgresError(kind: .connectionLost, message: "words").rpcError
        == .databaseUnavailable(cause: "connectionLost: words"))
    #expect(PostgresError(kind: .cancelled, message: "words").rpcError == .cancelled)
    #expect(PostgresError(kind: .unexpectedAnswer, message: "words").rpcError.code == .internal)
  }

  @Test func blamesTheRowForItsDataOnly() {
    func blamesTheRow(_ sqlState: String) -> Bool {
      PostgresError(kind: .refused(sqlState: sqlState), message: "").blamesTheRow
    }
    // ZX001 and 99999: classes that are not PostgreSQL's, so a trigger's own.
    #expect(["22001", "22P05", "23502", "23514", "54000", "P0001", "ZX001", "99999"].allSatisfy(blamesTheRow))
    let others = [
      "40001", "40P01", "57014", "57P01", "53100", "08006", "25P02", "26000", "42P05", "0A000", "42883", "54001",
      "P0004",
      "2F005", "XX000", "PT001", "",
    ]
    #expect(others.filter(blamesTheRow) == [])
    #expect(!PostgresError(kind: .connectionLost, message: "").blamesTheRow)
    let missing = PostgresError(kind: .refused(sqlState: "23514"), message: "", isPartitionMissing: true)
    #expect(!missing.blamesTheRow)
  }
}

@Suite struct BackoffTests {
  @Test func waitsAfterAFailureAndNotAfterASuccess() {
    var backoff = Backoff(from: .seconds(1000), to: .seconds(2000))
    #expect(backoff.mayTry)
    backoff.failed()
    #expect(!backoff.mayTry)
    backoff.succeeded()
    #expect(backoff.mayTry)
  }

  @Test func triesAtOnceWhereThePauseIsNone() {
    var backoff = Backoff(from: .zero, to: .zero)
    for _ in 0..<100 { backoff.failed() }
    #expect(backoff.mayTry)
  }
}
