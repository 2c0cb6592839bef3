import Testing

@testable import Bench

@Suite struct ArrivalsTests {
  private static let head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"

  @Test func timesCountFromTheFirst() throws {
    let arrivals = try Arrivals(
      csv: Self.head + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:47.68,396,109\n2023-11-17 00:00:00,1,2\n")
    #expect(arrivals.offsetsNanoseconds == [0, 999_410_000, 20_653_319_410_000])
    #expect(arrivals.sizes.map(\.contextTokens) == [374, 396, 1])
    #expect(arrivals.sizes.map(\.generatedTokens) == [44, 109, 2])
  }

  @Test(arguments: [
    "", "2023-11-16 18:15:46,1", "2023-11-16,1,2", "2023-11-16 18:15:46,-1,2", "a-b-c d:e:f,1,2",
    "2023-11-9223372036854775807 18:15:46,1,2", "2023-11-16 18:15:46.-5,1,2",
  ])
  func whatIsNoArrivalIsRefused(line: String) {
    #expect(throws: Arrivals.Failure.self) { try Arrivals(csv: Self.head + line) }
  }
}
