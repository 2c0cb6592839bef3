import Core
import TestSupport
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(5))) struct MonthsTests {
  private let now = Timestamp("2024-05-17T10:00:00.000Z")

  private func id(_ time: String) -> InteractionID { InteractionID(lowerBound: Timestamp(time)) }

  private func months(_ first: String?, _ end: String?) -> Months {
    Months(
      first: first.map { Month(of: id("\($0)-01T00:00:00.000Z")) },
      end: end.map { Month(of: id("\($0)-01T00:00:00.000Z")) })
  }

  @Test func agreesWithTheDatabaseOnMonths() async throws {
    var random = SeededGenerator()
    let times =
      [0, 1_577_836_799_999, 1_577_836_800_000, 1 << 48 - 1].map(Timestamp.init(milliseconds:))
      + (0..<300).map { _ in
        // To the year 4000.
        Timestamp(milliseconds: .random(in: 0..<64_060_588_800_000, using: &random))
      }
    try await TestDatabase.with { database in
      let values = times.map { "(\($0.milliseconds)::bigint)" }.joined(separator: ", ")
      let rows = try database.sql(
        """
        SELECT
          (extract(year FROM month) - 1970) * 12 + extract(month FROM month) - 1,
          parley.id_lower_bound(month AT TIME ZONE 'UTC')
        FROM (
          SELECT date_trunc('month', to_timestamp(milliseconds / 1000) AT TIME ZONE 'UTC') AS month
          FROM (VALUES \(values)) AS v (milliseconds)
        ) AS months
        """)
      for (row, time) in zip(rows, times) {
        let month = Month(of: time)
        #expect(row == ["\(month.index)", "\(month.start)"], "\(time.milliseconds), seed \(random.seed)")
      }
    }
  }

  @Test func coverIDs() {
    func covering(_ first: String, _ last: String) -> Months { Months(covering: id(first)...id(last), now: now) }
    #expect(covering("2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59.999Z") == months("2024-02", "2024-03"))
    #expect(covering("2023-12-31T00:00:00.000Z", "2024-02-01T00:00:00.000Z") == months("2023-12", "2024-03"))
    // More than a few are whole years.
    #expect(covering("2022-02-01T00:00:00.000Z", "2023-11-01T00:00:00.000Z") == months("2022-01", "2024-01"))
    #expect(covering("2023-06-01T00:00:00.000Z", "2023-12-01T00:00:00.000Z") == months("2023-01", "2024-01"))
    // What is before 2020 stands together, and so does what is ahead.
    #expect(covering("1970-01-01T00:00:00.000Z", "2001-01-01T00:00:00.000Z") == months(nil, "2020-01"))
    #expect(covering("2024-06-03T00:00:00.000Z", "2024-06-03T00:00:00.000Z") == months("2024-06", nil))
    #expect(covering("2031-01-01T00:00:00.000Z", "2031-01-01T00:00:00.000Z") == months("2024-06", nil))
    #expect(Months(covering: InteractionID(high: 0, low: 0)..<InteractionID(high: .max, low: .max), now: now) == .all)
    #expect(
      Months(covering: id("2023-03-01T00:00:00.000Z")..<id("2023-04-01T00:00:00.000Z"), now: now)
        == months("2023-03", "2023-04"))
  }

  @Test func areThoseBeforeAnID() {
    func upTo(_ time: String) -> Months { Months(upTo: id(time), now: now) }
    #expect(upTo("2023-01-31T00:00:00.000Z") == months("2022-12", "2023-02"))
    #expect(upTo("2024-05-20T00:00:00.000Z") == months("2024-04", "2024-06"))
    // With one month more than any server records now.
    #expect(upTo("2024-06-20T00:00:00.000Z") == months("2024-04", "2024-07"))
    #expect(upTo("9999-01-01T00:00:00.000Z") == months("2024-04", "2024-07"))
    #expect(upTo("1999-01-01T00:00:00.000Z") == months(nil, "2020-01"))
  }

  @Test func coverTheIDsTheyAreMadeFor() {
    var random = SeededGenerator()
    for _ in 0..<1000 {
      let bounds = (0..<2).map { _ in
        InteractionID(high: random.next() >> UInt64.random(in: 0..<20, using: &random), low: random.next())
      }
      let (first, last) = (bounds.min()!, bounds.max()!)
      let covering = Months(covering: first...last, now: now).ids
      #expect(covering.contains(first) && covering.contains(last), "\(first) \(last), seed \(random.seed)")
      let range = Months(covering: first..<last, now: now).ids
      #expect(range.lowerBound <= first && last <= range.upperBound, "\(first) \(last), seed \(random.seed)")
    }
  }
}
