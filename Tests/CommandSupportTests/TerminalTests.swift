import CommandSupport
import Testing

@Suite struct TerminalTests {
  @Test(arguments: [
    (0, "$0.000000000"), (7, "$0.000000007"), (-7, "-$0.000000007"), (1_500_000_000, "$1.500000000"),
    (-1_500_000_000, "-$1.500000000"), (-999_999_999, "-$0.999999999"), (-1_000_000_000, "-$1.000000000"),
    (Int64.max, "$9223372036.854775807"), (Int64.min, "-$9223372036.854775808"),
  ]) func showsDollarsToTheLastNano(nanos: Int64, shown: String) {
    #expect(dollars(nanos) == shown)
  }
}
