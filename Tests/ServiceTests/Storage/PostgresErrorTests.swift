import Core
import Postgres
import Testing

@testable import Service

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
    #expect(PostgresError(kind: .unexpectedResponse, message: "words").rpcError.code == .internal)
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
