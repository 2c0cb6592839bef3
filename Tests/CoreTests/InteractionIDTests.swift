import Core
import TestSupport
import Testing

@Suite struct InteractionIDTests {
  /// RFC 9562, appendix A.6: 2022-02-22T19:22:22Z.
  @Test func theExampleOfTheRFCIsRead() throws {
    let id = try #require(InteractionID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"))
    #expect(id.isVersion7)
    #expect(id.time.milliseconds == 1_645_557_742_000)
    #expect(id.high == 0x017f_22e2_79b0_7cc3)
    #expect(id.low == 0x98c4_dc0c_0c07_398f)
  }

  @Test func eitherCaseIsReadAndLowerCaseIsPrinted() {
    let text = "01977420-dc00-7abc-8def-0123456789ab"
    #expect(InteractionID(text)?.description == text)
    #expect(InteractionID(text.uppercased())?.description == text)
  }

  @Test func everyIDPrintsAndParsesTheSame() {
    var chance = SeededGenerator()
    for _ in 0..<1000 {
      let id = InteractionID(high: chance.next(), low: chance.next())
      #expect(InteractionID(id.description) == id, "seed \(chance.seed)")
    }
  }

  @Test(arguments: [
    "",
    "01977420-dc00-7abc-8def-0123456789a",
    "01977420-dc00-7abc-8def-0123456789abc",
    "01977420dc007abc8def0123456789ab",
    "01977420-dc007-abc-8def-0123456789ab",
    "01977420_dc00_7abc_8def_0123456789ab",
    "{197742b-dc00-7abc-8def-0123456789a}",
    "0197742g-dc00-7abc-8def-0123456789ab",
    " 197742b-dc00-7abc-8def-0123456789ab",
    "+197742b-dc00-7abc-8def-0123456789ab",
    "01977420-dc00-7abc-8def-0123456789é",
  ])
  func otherFormsAreNoID(text: String) {
    #expect(InteractionID(text) == nil)
  }

  @Test(arguments: 0..<16) func onlyVersion7IsAnID(version: Int) throws {
    let id = try #require(InteractionID("01977420-dc00-\(String(version, radix: 16))abc-8def-0123456789ab"))
    #expect(id.isVersion7 == (version == 7))
  }

  @Test(arguments: 0..<16) func onlyTheVariantOfTheRFCIsAnID(digit: Int) throws {
    let id = try #require(InteractionID("01977420-dc00-7abc-\(String(digit, radix: 16))def-0123456789ab"))
    #expect(id.isVersion7 == (8...11).contains(digit))
  }

  @Test(arguments: [0, 1, 1_716_163_215_919, 1 << 48 - 1] as [Int64])
  func aNewIDKeepsItsTimeAndIsVersion7(milliseconds: Int64) {
    let id = InteractionID(at: Timestamp(milliseconds: milliseconds))
    #expect(id.isVersion7)
    #expect(id.time.milliseconds == milliseconds)
  }

  @Test func newIDsOfTheSameMillisecondDiffer() {
    #expect(Set((0..<1000).map { _ in InteractionID(at: now) }).count == 1000)
  }

  // MARK: Derived from a request id

  /// Derivation must never change: a retry after an update has to find what was recorded before it.
  @Test func theIDOfARequestIsTheSameForEver() {
    #expect(InteractionID(at: now, requestID: "order-4711").description == "01977420-dc00-77d7-b211-98bac72abc9e")
  }

  @Test func theIDOfARequestIsVersion7AtItsTime() {
    let id = InteractionID(at: now, requestID: "r")
    #expect(id.isVersion7)
    #expect(id.time == now)
  }

  @Test func anotherRequestOrTimeIsAnotherID() {
    let ids = [
      InteractionID(at: now, requestID: "1"),
      InteractionID(at: now, requestID: "2"),
      InteractionID(at: now, requestID: "1\0"),
      InteractionID(at: now, requestID: ""),
      InteractionID(at: now + 1, requestID: "1"),
    ]
    #expect(Set(ids).count == ids.count)
    #expect(Set(ids.map { [$0.high & 0xfff, $0.low] }).count == ids.count, "only their times differ")
  }

  // MARK: Order

  @Test func orderIsThatOfTheBytesAndOfTheText() {
    var chance = SeededGenerator()
    for _ in 0..<2000 {
      // Close together, so that every part decides now and then.
      let a = InteractionID(high: chance.next(), low: chance.next())
      let b = InteractionID(
        high: Bool.random(using: &chance) ? a.high : a.high ^ 1 << UInt64.random(in: 0..<64, using: &chance),
        low: Bool.random(using: &chance) ? a.low : a.low ^ 1 << UInt64.random(in: 0..<64, using: &chance))
      #expect((a < b) == a.bytes.lexicographicallyPrecedes(b.bytes), "seed \(chance.seed)")
      #expect((a < b) == (a.description < b.description), "seed \(chance.seed)")
      #expect((a == b) == (a.description == b.description), "seed \(chance.seed)")
    }
  }

  @Test func laterIsGreater() {
    #expect(InteractionID(at: now) < InteractionID(at: now + 1))
  }

  // MARK: Lower bounds

  @Test func aLowerBoundDividesTheIDsByTheirTime() {
    var chance = SeededGenerator()
    for _ in 0..<1000 {
      let time = Timestamp(milliseconds: .random(in: 1..<1 << 48, using: &chance))
      let bound = InteractionID(lowerBound: time)
      #expect(bound <= InteractionID(at: time), "seed \(chance.seed)")
      #expect(bound > InteractionID(at: time - 1), "seed \(chance.seed)")
      #expect(bound.time == time, "seed \(chance.seed)")
    }
  }

  @Test func aLowerBoundIsTheLeastOfItsTime() {
    #expect(InteractionID(lowerBound: now).description == "01977420-dc00-0000-0000-000000000000")
  }

  @Test(arguments: [-1, -62_135_596_800_000, .min] as [Int64])
  func beforeThereWereIDsTheBoundIsTheLeastOfAll(milliseconds: Int64) {
    #expect(InteractionID(lowerBound: Timestamp(milliseconds: milliseconds)) == InteractionID(high: 0, low: 0))
  }

  @Test(arguments: [1 << 48, .max] as [Int64])
  func pastTheLastTimeTheBoundIsThatOfTheLastTime(milliseconds: Int64) {
    #expect(
      InteractionID(lowerBound: Timestamp(milliseconds: milliseconds))
        == InteractionID(lowerBound: Timestamp(milliseconds: 1 << 48 - 1)))
  }
}

extension InteractionID {
  fileprivate var bytes: [UInt8] {
    [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) } }
  }
}
