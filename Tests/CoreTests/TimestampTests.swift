import Core
import TestSupport
import Testing

@Suite struct TimestampTests {
  @Test(
    arguments: [
      (0, 0, 0, 0),
      (0, 1, 0, 1),
      (0, 999_999, 0, 1),
      (0, 1_000_000, 1, 1),
      (0, 1_000_001, 1, 2),
      (1, 999_999_999, 1999, 2000),
      (-1, 0, -1000, -1000),
      (-1, 1, -1000, -999),
      (-1, 999_000_000, -1, -1),
      (-1, 999_999_999, -1, 0),
      (-62_135_596_800, 0, -62_135_596_800_000, -62_135_596_800_000),
      (253_402_300_799, 999_000_000, 253_402_300_799_999, 253_402_300_799_999),
    ] as [(Int64, Int32, Int64, Int64)])
  func finerDigitsRoundDownOrUp(seconds: Int64, nanoseconds: Int32, down: Int64, up: Int64) {
    #expect(Timestamp(seconds: seconds, nanoseconds: nanoseconds, rounding: .down)?.milliseconds == down)
    #expect(Timestamp(seconds: seconds, nanoseconds: nanoseconds, rounding: .up)?.milliseconds == up)
  }

  @Test(
    arguments: [
      (-62_135_596_801, 999_999_999),
      (253_402_300_800, 0),
      (.min, 0),
      (.max, 0),
      (0, -1),
      (0, 1_000_000_000),
      (0, .min),
      (0, .max),
    ] as [(Int64, Int32)], [Timestamp.Rounding.down, .up])
  func outsideOfProtobufsRangeThereIsNoTimestamp(
    parts: (seconds: Int64, nanoseconds: Int32), rounding: Timestamp.Rounding
  ) {
    #expect(Timestamp(seconds: parts.seconds, nanoseconds: parts.nanoseconds, rounding: rounding) == nil)
  }

  @Test(
    arguments: [
      (0, 0, 0), (1, 0, 1_000_000), (999, 0, 999_000_000), (1000, 1, 0),
      (-1, -1, 999_000_000), (-1000, -1, 0), (-1001, -2, 999_000_000),
      // What the message cannot tell is told as the nearest that it can.
      (.max, 253_402_300_799, 999_000_000), (.min, -62_135_596_800, 0),
    ] as [(Int64, Int64, Int32)])
  func secondsRoundTowardsThePastAndNanosecondsAreNeverNegative(milliseconds: Int64, seconds: Int64, nanoseconds: Int32)
  {
    #expect(Timestamp(milliseconds: milliseconds).protobuf == (seconds, nanoseconds))
  }

  @Test func everyTimeOfProtobufsRangeComesBack() {
    var chance = SeededGenerator()
    for _ in 0..<1000 {
      let time = Timestamp(milliseconds: .random(in: -62_135_596_800_000...253_402_300_799_999, using: &chance))
      for rounding in [Timestamp.Rounding.down, .up] {
        let (seconds, nanoseconds) = time.protobuf
        #expect(
          Timestamp(seconds: seconds, nanoseconds: nanoseconds, rounding: rounding) == time, "seed \(chance.seed)")
      }
    }
  }

  /// Why bounds round up: whole milliseconds fall on the same side of the bound before and after.
  @Test func aBoundRoundedUpDividesWholeMillisecondsAsBefore() throws {
    var chance = SeededGenerator()
    for _ in 0..<1000 {
      let boundNanoseconds = Int64.random(in: 0..<5_000_000, using: &chance)
      let bound = try #require(Timestamp(seconds: 0, nanoseconds: Int32(boundNanoseconds), rounding: .up))
      let event = Timestamp(milliseconds: .random(in: 0...5, using: &chance))
      #expect((event >= bound) == (event.milliseconds * 1_000_000 >= boundNanoseconds), "seed \(chance.seed)")
    }
  }
}
