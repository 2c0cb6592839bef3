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
    #expect(["22001", "22P05", "23502", "23514", "P0001"].allSatisfy(blamesTheRow))
    #expect(!["40001", "40P01", "57014", "57P01", "53100", "08006", "25P02"].contains(where: blamesTheRow))
    #expect(!PostgresError(kind: .connectionLost, message: "").blamesTheRow)
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
