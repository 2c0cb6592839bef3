import Core
import Testing

@testable import Service

@Suite struct LockedRowsTests {
  private let clock = ManualClock()
  private let rows: LockedRows

  init() {
    rows = LockedRows(clock: JobClock(clock))
  }

  private func row(_ tenant: Tenant, _ key: Int32, at time: Timestamp = .now) -> RecordRow {
    RecordRow(.sample(at: time), tenant: NumberedTenant(key: TenantKey(rawValue: key), name: tenant))
  }

  /// As a writer does, where those of some places wait in vain.
  private func write(_ batch: [RecordRow], waiting places: Set<Int> = []) -> LockedRows.Admission? {
    let admission = rows.admit(batch)
    let tried = places.subtracting(admission?.putOff ?? [])
    rows.ended(admission, waited: Set(tried.map { batch[$0].key }))
    return admission
  }

  @Test func nothingIsPutOffThatHasNotWaited() {
    let batch = [row(.a, 1), row(.b, 2)]
    #expect(write(batch) == nil)
    #expect(write(batch) == nil && rows.count == 0)
  }

  @Test func rowThatWaitedIsPutOffAloneAndTriedAgain() {
    let batch = [row(.a, 1), row(.a, 1), row(.b, 2)]
    #expect(write(batch, waiting: [0]) == nil)
    let admission = rows.admit(batch)
    #expect(admission?.putOff == [0])
    #expect(admission?.tenants == [1])
    rows.ended(admission, waited: [])
    clock.advance(by: .seconds(1))
    #expect(write(batch)?.putOff == [])
    #expect(rows.admit(batch) == nil, "it waited no more")
  }

  @Test func whatNobodyTriesAnyLongerIsForgotten() {
    let given = [row(.a, 1)]
    let others = [row(.b, 2)]
    _ = write(given, waiting: [0])
    clock.advance(by: .seconds(60))
    #expect(write(others)?.putOff == [])
    #expect(rows.count == 1)
    clock.advance(by: .seconds(1))
    #expect(write(others) == nil && rows.count == 0)
  }

  @Test func oneWriterTriesItAtATime() {
    let batch = [row(.a, 1)]
    _ = write(batch, waiting: [0])
    clock.advance(by: .seconds(1))
    let first = rows.admit(batch)
    #expect(first?.putOff == [])
    #expect(rows.admit(batch)?.putOff == [0])
    // Nothing came of it, as where the connection was lost to another database.
    rows.ended(first, waited: nil)
    let next = rows.admit(batch)
    #expect(next?.putOff == [])
    rows.ended(next, waited: Set(batch.map(\.key)))
    #expect(rows.admit(batch)?.putOff == [0])
  }

  @Test func pausesGrowToAFewSeconds() {
    let batch = [row(.a, 1)]
    _ = write(batch, waiting: [0])
    for _ in 0..<10 {
      clock.advance(by: .seconds(5))
      #expect(write(batch, waiting: [0])?.putOff == [])
    }
    clock.advance(by: .seconds(2))
    #expect(write(batch)?.putOff == [0])
    clock.advance(by: .seconds(3))
    #expect(write(batch)?.putOff == [])
  }

  @Test func monthAndTenantArePutOffWhereMuchOfThemIs() {
    let months = (1...4).map { Timestamp("2022-0\($0)-15T12:00:00.000Z") }
    for (count, month) in months.enumerated() {
      _ = write((0..<4).map { _ in row(.a, 1, at: month) }, waiting: [0, 1, 2, 3])
      let others = [row(.a, 1, at: month), row(.a, 1), row(.b, 2)]
      #expect(write(others)?.putOff == (count < 3 ? [0] : [0, 1]))
    }
    #expect(rows.count == 1)
    clock.advance(by: .seconds(5))
    // Part of it still waits, so the tenant does.
    #expect(write([row(.a, 1), row(.a, 1)], waiting: [1])?.putOff == [])
    #expect(write([row(.a, 1)])?.putOff == [0])
    clock.advance(by: .seconds(5))
    _ = write([row(.a, 1), row(.a, 1)])
    #expect(rows.count == 0)
  }

  @Test func isBounded() {
    let few = LockedRows(clock: JobClock(clock), scopesMax: 3)
    for number in 1...10 {
      let batch = [row(.a, Int32(number))]
      few.ended(few.admit(batch), waited: [batch[0].key])
    }
    #expect(few.count == 3)
  }
}

extension LockedRows.Admission: Equatable {
  static func == (a: Self, b: Self) -> Bool { a.putOff == b.putOff && a.tenants == b.tenants }
}
