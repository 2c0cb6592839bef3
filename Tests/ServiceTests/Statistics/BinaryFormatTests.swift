import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// Parameters as PostgreSQL understands them, and its values as rows give them: each held against
/// PostgreSQL's own text.
@Suite(.timeLimit(.minutes(5))) struct BinaryFormatTests {
  /// What PostgreSQL makes of the parameters.
  private func texts(
    _ database: TestDatabase, _ expressions: [String], _ fill: @Sendable (inout Parameters) -> Void
  ) async throws -> [String?] {
    let connection = database.owner()
    let text = "SELECT " + expressions.map { "(\($0))::text" }.joined(separator: ", ")
    return try await connection.run { (connection) throws(PostgresError) in
      let rows = try connection.run(Command(Statement("parameters", text), fill))
      var texts: [String?] = []
      for row in rows {
        for column in expressions.indices { texts.append(row.isNull(column) ? nil : try row.text(column)) }
      }
      return texts
    }.get()
  }

  /// Reads one row of that SQL.
  private func read<R: Sendable>(
    _ database: TestDatabase, _ text: String, _ body: @Sendable (Row) throws(PostgresError) -> R
  ) async throws -> R {
    let connection = database.owner()
    return try await connection.run { (connection) throws(PostgresError) in
      try body(connection.run(Command(Statement("rows", text))).first { _ in true }!)
    }.get()
  }

  @Test func sendsIntegers() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let texts = try await texts(
        database, ["$1::int4", "$2::int4", "$3::int4", "$4::int8", "$5::int8", "$6::int8"]
      ) {
        for value: Int32 in [.min, -1, .max] { $0.add(value) }
        for value: Int64 in [.min, 0, .max] { $0.add(value) }
      }
      #expect(
        texts == ["-2147483648", "-1", "2147483647", "-9223372036854775808", "0", "9223372036854775807"])
    }
  }

  @Test func sendsDoubles() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let texts = try await texts(database, (1...8).map { "$\($0)::float8" }) {
        for value: Double in [
          0, -0.0, 0.1, .leastNonzeroMagnitude, .greatestFiniteMagnitude, .infinity, -.infinity, .nan,
        ] { $0.add(value) }
      }
      #expect(texts == ["0", "-0", "0.1", "5e-324", "1.7976931348623157e+308", "Infinity", "-Infinity", "NaN"])
    }
  }

  @Test func sendsTextsBooleansAndIDs() async throws {
    let id = InteractionID("018f9137-7e2f-7a3b-8c4d-0123456789ab")!
    try await TestDatabase.with(migrated: false) { database in
      let texts = try await texts(
        database, ["$1::text", "$2::text", "octet_length($3::text)", "$4::bool", "$5::bool", "$6::uuid"]
      ) {
        $0.add("")
        $0.add("é 対話 ✈️ '\"\\")
        $0.add(String(repeating: "x", count: 200_000))
        $0.add(true)
        $0.add(false)
        $0.add(id)
      }
      #expect(texts == ["", "é 対話 ✈️ '\"\\", "200000", "true", "false", id.description])
    }
  }

  @Test func sendsNullsApartFromEmptyValues() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let texts = try await texts(
        database, ["$1::text", "$2::text", "$3::int8", "$4::float8", "$5::bool", "$6::text", "$7::int8"]
      ) {
        $0.add(nil as String?)
        $0.add("" as String?)
        $0.add(nil as Int64?)
        $0.add(nil as Double?)
        $0.add(nil as Bool?)
        $0.addNull()
        $0.add(7 as Int64?)
      }
      #expect(texts == [nil, "", nil, nil, nil, nil, "7"])
      #expect(try await self.texts(database, ["$1::text"]) { $0.add("") } == [""])
      #expect(try await self.texts(database, ["$1::text"]) { $0.addNull() } == [nil])
      #expect(try await self.texts(database, ["1"]) { _ in } == ["1"])
    }
  }

  @Test func sendsArrays() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let texts = try await texts(
        database, ["to_json($1::text[])", "to_json($2::text[])", "$3::float8[]", "$4::float8[]", "$5::int4"]
      ) {
        $0.add([] as [String])
        $0.add(["", "a,b", "NULL", "{}", "\"", "\\", "é"])
        $0.add([] as [Double])
        $0.add([0.1, -0.0, .leastNonzeroMagnitude, .infinity])
        $0.add(5 as Int32)
      }
      #expect(
        texts == ["[]", #"["","a,b","NULL","{}","\"","\\","é"]"#, "{}", "{0.1,-0,5e-324,Infinity}", "5"])
    }
  }

  @Test func readsNumbers() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let integers = try await read(
        database,
        """
        SELECT '-2147483648'::int4, '2147483647'::int4, '-9223372036854775808'::int8, '9223372036854775807'::int8
        """
      ) { row throws(PostgresError) in
        [Int64(try row.int32(0)), Int64(try row.int32(1)), try row.int64(2), try row.int64(3)]
      }
      #expect(integers == [Int64(Int32.min), Int64(Int32.max), .min, .max])
      let doubles = try await read(
        database,
        """
        SELECT '-0'::float8, '0.1'::float8, '5e-324'::float8, '1.7976931348623157e308'::float8, 'Infinity'::float8,
          'NaN'::float8
        """
      ) { row throws(PostgresError) in
        var doubles: [Double] = []
        for column in 0..<6 { doubles.append(try row.double(column)) }
        return doubles
      }
      #expect(
        doubles.map(\.bitPattern)
          == [-0.0, 0.1, Double.leastNonzeroMagnitude, .greatestFiniteMagnitude, .infinity, .nan].map(\.bitPattern))
    }
  }

  @Test func readsTextsBooleansIDsAndTimes() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let (empty, text, yes, no, id, time, epoch, isNull, isNot) = try await read(
        database,
        """
        SELECT ''::text, 'é 対話 ✈️'::text, true, false, '018f9137-7e2f-7a3b-8c4d-0123456789ab'::uuid,
          timestamptz '2024-02-29 23:59:59.999999Z', timestamptz '2000-01-01Z', NULL::text
        """
      ) { row throws(PostgresError) in
        (
          try row.text(0), try row.text(1), try row.bool(2), try row.bool(3), try row.id(4), try row.timestamp(5),
          try row.timestamp(6), row.isNull(7), row.isNull(0)
        )
      }
      #expect(empty == "")
      #expect(text == "é 対話 ✈️")
      #expect(yes)
      #expect(!no)
      #expect(id == InteractionID("018f9137-7e2f-7a3b-8c4d-0123456789ab"))
      #expect(time == Timestamp("2024-02-29T23:59:59.999Z"))
      #expect(epoch == Timestamp("2000-01-01T00:00:00.000Z"))
      #expect(isNull)
      #expect(!isNot)
    }
  }

  @Test func readsArrays() async throws {
    try await TestDatabase.with(migrated: false) { database in
      let (none, texts, noDoubles, doubles) = try await read(
        database,
        #"SELECT '{}'::text[], ARRAY['', 'a,b', 'NULL', '"\', 'é'], '{}'::float8[], '{-0,0.1,5e-324}'::float8[]"#
      ) { row throws(PostgresError) in
        (try row.texts(0), try row.texts(1), try row.doubles(2), try row.doubles(3))
      }
      #expect(none == [])
      #expect(texts == ["", "a,b", "NULL", #""\"#, "é"])
      #expect(noDoubles == [])
      #expect(doubles.map(\.bitPattern) == [-0.0, 0.1, Double.leastNonzeroMagnitude].map(\.bitPattern))
    }
  }

  @Test func refusesToReadWhatIsNotThere() async throws {
    try await TestDatabase.with(migrated: false) { database in
      try await read(
        database,
        "SELECT NULL::text, 1::int4, 1::int8, 'text'::text, ARRAY['a', NULL], NULL::float8[], true, ARRAY[['a'], ['b']]"
      ) { row throws(PostgresError) in
        let misreadings: [(String, () throws(PostgresError) -> Void)] = [
          ("NULL as text", { () throws(PostgresError) in _ = try row.text(0) }),
          ("NULL as int4", { () throws(PostgresError) in _ = try row.int32(0) }),
          ("NULL as uuid", { () throws(PostgresError) in _ = try row.id(0) }),
          ("NULL as array", { () throws(PostgresError) in _ = try row.doubles(5) }),
          ("int4 as int8", { () throws(PostgresError) in _ = try row.int64(1) }),
          ("int8 as int4", { () throws(PostgresError) in _ = try row.int32(2) }),
          ("int4 as double", { () throws(PostgresError) in _ = try row.double(1) }),
          ("int4 as bool", { () throws(PostgresError) in _ = try row.bool(1) }),
          ("bool as int4", { () throws(PostgresError) in _ = try row.int32(6) }),
          ("text as uuid", { () throws(PostgresError) in _ = try row.id(3) }),
          ("text as array", { () throws(PostgresError) in _ = try row.texts(3) }),
        ]
        #expect(try row.texts(4) == ["a", ""])
        #expect(try row.texts(7) == ["a", "b"])
        for (name, misread) in misreadings {
          do throws(PostgresError) {
            try misread()
            Issue.record("\(name) was read")
          } catch {
            guard case .unexpectedResponse = error.kind else {
              Issue.record("\(name): \(error)")
              continue
            }
          }
        }
      }
    }
  }

  @Test func refusesArraysOfOtherElements() async throws {
    try await TestDatabase.with(migrated: false) { database in
      for text in ["SELECT ARRAY['a']", "SELECT ARRAY[0.5::float4]", "SELECT ARRAY[1::int8]"] {
        await #expect(throws: PostgresError.self, "\(text)") {
          try await read(database, text) { row throws(PostgresError) in try row.doubles(0) }
        }
      }
      await #expect(throws: PostgresError.self) {
        try await read(database, "SELECT ARRAY[0.5::float8]") { row throws(PostgresError) in try row.texts(0) }
      }
    }
  }
}
