import Core
import TestSupport
import Testing

@Suite struct RecordInteractionsTests {
  @Test func aBatchHasAtMost1000() throws {
    let draft = InteractionDraft.sample(at: now)
    let batch = RecordInteractions(interactions: [Result](repeating: .success(draft), count: 1000))
    #expect(try batch.checked(tenant: tenant, now: now).count == 1000)
    let tooMany = RecordInteractions(interactions: batch.interactions + [.success(draft)])
    #expect(violations(of: tooMany) == ["interactions: are 1001; at most 1000 are allowed"])
  }

  @Test func aBatchMayBeEmpty() throws {
    #expect(try RecordInteractions(interactions: []).checked(tenant: tenant, now: now).isEmpty)
  }

  @Test func oneBadRecordNeverCostsItsNeighbours() throws {
    var bad = InteractionDraft.sample(at: now)
    bad.content.conversationID = ""
    bad.content.confidenceScore = .nan
    let unreadable = RPCError.invalid("interactions[3].model_used", "is not valid UTF-8")
    let batch = RecordInteractions(interactions: [
      .success(.sample(at: now)), .success(bad), .success(.sample(at: now - 1)), .failure(unreadable),
      .success(.sample(at: now - 2)),
    ])
    let results = try batch.checked(tenant: tenant, now: now)
    #expect(results.map { try? $0.get().createdAt } == [now, nil, now - 1, nil, now - 2])
    #expect(
      results[1].error?.violations.map(\.field) == [
        "interactions[1].conversation_id", "interactions[1].confidence_score",
      ])
    #expect(results[3].error == unreadable)
  }

  @Test func everyRecordWithoutAnIDGetsItsOwn() throws {
    let batch = RecordInteractions(interactions: [Result](repeating: .success(.sample(at: now)), count: 100))
    let ids = try batch.checked(tenant: tenant, now: now).map { try $0.get().id }
    #expect(Set(ids).count == 100)
  }
}

@Suite struct ListInteractionsTests {
  @Test(arguments: [(0, 50), (1, 1), (50, 50), (199, 199), (200, 200), (201, 200), (.max, 200)] as [(Int32, Int)])
  func aPageHas50UnlessAskedOtherwiseAndAtMost200(asked: Int32, given: Int) throws {
    #expect(try ListInteractions(pageSize: asked).checked(tenant: tenant, now: now).pageSize == given)
  }

  @Test(arguments: [-1, .min] as [Int32]) func aNegativePageSizeIsRefused(size: Int32) {
    #expect(violations(of: ListInteractions(pageSize: size)) == ["page_size: is \(size); it cannot be negative"])
  }

  @Test func withoutATokenAListBeginsAtTheNewest() throws {
    #expect(try ListInteractions().checked(tenant: tenant, now: now).after == nil)
  }

  @Test func aTokenThatIsNoneIsRefused() {
    #expect(violations(of: ListInteractions(pageToken: "x")) == ["page_token: is not one this service made"])
  }

  @Test func filterAndViewAreKept() throws {
    var filter = InteractionFilter()
    filter.intent = "track"
    let checked = try ListInteractions(filter: filter, view: .full).checked(tenant: tenant, now: now)
    #expect(checked.filter == filter)
    #expect(checked.view == .full)
    #expect(try ListInteractions().checked(tenant: tenant, now: now).view == .basic)
  }
}

@Suite struct GetInteractionTests {
  @Test func anIDInEitherCaseIsTheID() throws {
    let id = InteractionID(at: now)
    for text in [id.description, id.description.uppercased()] {
      #expect(try GetInteraction(id: text).checked(tenant: tenant, now: now) == id)
    }
  }

  @Test(arguments: ["", "1", "01977420-dc00-4abc-8def-0123456789ab", "01977420-dc00-7abc-cdef-0123456789ab"])
  func whatIsNoUUIDv7IsRefused(id: String) {
    #expect(
      violations(of: GetInteraction(id: id)) == [
        "id: is \"\(id)\"; allowed is a UUIDv7 in its 36-character form"
      ])
  }

  @Test func aLongTextIsNotRepeatedWhole() {
    #expect(
      violations(of: GetInteraction(id: text(41))) == [
        "id: is \"\(text(40))…\"; allowed is a UUIDv7 in its 36-character form"
      ])
  }
}

@Suite struct GetStatsTests {
  static let days30: Int64 = 30 * 86_400_000

  @Test func withoutTimesItIsTheLast30DaysAndThisMillisecond() throws {
    let checked = try stats(from: nil, to: nil)
    #expect(checked.start == now + 1 - Self.days30)
    #expect(checked.end == now + 1)
  }

  @Test func withAStartItIsThe30DaysAfterIt() throws {
    let checked = try stats(from: now - 5, to: nil)
    #expect(checked.start == now - 5)
    #expect(checked.end == now - 5 + Self.days30)
  }

  @Test func withAnEndItIsThe30DaysBeforeIt() throws {
    let checked = try stats(from: nil, to: now + 7)
    #expect(checked.start == now + 7 - Self.days30)
    #expect(checked.end == now + 7)
  }

  @Test func withBothItIsWhatLiesBetween() throws {
    let checked = try stats(from: now - 3, to: now - 1)
    #expect(checked.start == now - 3)
    #expect(checked.end == now - 1)
  }

  static let firstTime = Timestamp(milliseconds: -62_135_596_800_000)
  static let lastTime = Timestamp(milliseconds: 253_402_300_799_999)

  /// The response tells the range, and `google.protobuf.Timestamp` has the years 1 to 9999.
  @Test(
    arguments: [(firstTime, nil), (nil, firstTime), (lastTime, nil), (nil, lastTime), (firstTime, lastTime)]
      as [(Timestamp?, Timestamp?)])
  func theRangeCanAlwaysBeTold(start: Timestamp?, end: Timestamp?) throws {
    let checked = try stats(from: start, to: end)
    #expect(checked.start >= Self.firstTime)
    #expect(checked.end <= Self.lastTime)
  }

  @Test(arguments: [(StatsInterval.hour, 9600, "9601"), (.day, 9600, "9601")])
  func aSeriesHasAtMost9600Points(interval: StatsInterval, points: Int64, past: String) throws {
    #expect(try stats(from: now, to: now + points * interval.milliseconds, by: interval).interval == interval)
    let tooLong = violations(of: request(from: now, to: now + (points + 1) * interval.milliseconds, by: interval))
    #expect(
      tooLong == [
        "interval: makes \(past) points of this time range; at most 9600 are allowed: narrow the range or widen the interval"
      ])
  }

  @Test(arguments: [StatsInterval.hour, .day]) func aSeriesOneMillisecondTooLongIsRefused(interval: StatsInterval) {
    let tooLong = request(from: now, to: now + 9600 * interval.milliseconds + 1, by: interval)
    #expect(violations(of: tooLong).count == 1)
  }

  @Test func withoutASeriesTheRangeMayBeAnyLength() throws {
    #expect(try stats(from: Self.firstTime, to: Self.lastTime).interval == nil)
  }

  @Test func intervalsAreHoursAndDays() {
    #expect(StatsInterval.hour.milliseconds == 3_600_000)
    #expect(StatsInterval.day.milliseconds == 86_400_000)
  }

  private func request(from start: Timestamp?, to end: Timestamp?, by interval: StatsInterval? = nil) -> GetStats {
    var filter = InteractionFilter()
    filter.startTime = start
    filter.endTime = end
    return GetStats(filter: filter, interval: interval)
  }

  private func stats(
    from start: Timestamp?, to end: Timestamp?, by interval: StatsInterval? = nil
  ) throws -> GetStats.Checked {
    try request(from: start, to: end, by: interval).checked(tenant: tenant, now: now)
  }
}
