import Core
import TestSupport
import Testing

@testable import Service

/// Which hours are rebuilt next where some cannot be.
@Suite struct FailedHoursTests {
  private let tenant = TenantKey(rawValue: 7)

  private func piece(_ failed: FailedHours, at seconds: Int = 0) -> RebuildPiece {
    failed.nextPiece(of: tenant, at: .seconds(seconds))
  }

  /// - Returns: whether there is something else to try.
  private func fail(_ hours: Range<Int32>, _ failed: inout FailedHours, at seconds: Int = 0) -> Bool {
    failed.failed(hours, of: tenant, at: .seconds(seconds))
  }

  @Test func whereNoneFailedAllAreWanted() {
    let piece = piece(FailedHours())
    #expect(piece.within == StaleHours.everyHour && piece.except.isEmpty && piece.hoursMax == .max)
  }

  @Test func halfAsManyAreTriedEachTimeDownToOne() {
    var failed = FailedHours()
    #expect(fail(100..<124, &failed))
    #expect(piece(failed).hoursMax == 12)
    #expect(fail(100..<112, &failed))
    #expect(fail(100..<103, &failed))
    #expect(piece(failed).hoursMax == 1 && piece(failed).except.isEmpty)
    #expect(fail(100..<101, &failed))
    #expect(piece(failed).except == StaleHours(100..<101))
    failed.ended(101..<102, of: tenant)
    failed.ended(102..<104, of: tenant)
    #expect(piece(failed).hoursMax == 4, "twice as many each time that it works")
  }

  @Test func oneThatIsPutOffIsTriedByItselfWhenItIsDue() {
    var failed = FailedHours()
    #expect(fail(100..<101, &failed))
    #expect(piece(failed, at: 1).within == 100..<101 && piece(failed, at: 1).except.isEmpty)
    for _ in 0..<10 { #expect(fail(100..<101, &failed, at: 1)) }
    #expect(piece(failed, at: 30).except == StaleHours(100..<101), "a growing while")
    #expect(piece(failed, at: 61).within == 100..<101)
    failed.ended(100..<101, of: tenant)
    #expect(piece(failed, at: 61).within == StaleHours.everyHour && piece(failed, at: 61).except.isEmpty)
  }

  @Test func tenantWhoseStaleHoursAreAllPutOffRestsForASecond() {
    var failed = FailedHours()
    #expect(fail(100..<101, &failed))
    failed.found(nothingOf: piece(failed), of: tenant, at: .zero)
    #expect(failed.resting(at: .milliseconds(999)) == [tenant] && failed.resting(at: .seconds(1)) == [])
    // Others have rebuilt it.
    failed.found(nothingOf: piece(failed, at: 60), of: tenant, at: .seconds(60))
    #expect(piece(failed, at: 60).except.isEmpty && failed.resting(at: .seconds(60)) == [])
  }

  @Test func theirNumberIsBounded() {
    var failed = FailedHours(hoursMax: 3)
    for hour: Int32 in 0..<3 { #expect(fail(hour..<hour + 1, &failed)) }
    #expect(!fail(3..<4, &failed), "then its tenant is put off")
    #expect(fail(0..<1, &failed))
  }

  /// Whatever is stale and whatever cannot be rebuilt: the others are, in few tries.
  @Test func onlyThoseThatCannotBeRebuiltAreLeft() {
    var random = SeededGenerator()
    for _ in 0..<100 {
      var stale = StaleHours()
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        let first = Int32.random(in: 0..<400, using: &random)
        stale.insert(first..<first + .random(in: 1...100, using: &random))
      }
      let candidates = stale.ranges.flatMap { $0 }
      let damaged = Set((0..<Int.random(in: 0...4, using: &random)).map { _ in random.pick(candidates) })
      let count = stale.count
      var (failed, tries) = (FailedHours(), 0)
      while true {
        let piece = failed.nextPiece(of: tenant, at: .zero)
        guard let hours = piece.span(of: stale) else { break }
        tries += 1
        if damaged.isDisjoint(with: hours) {
          stale = stale.without(hours)
          failed.ended(hours, of: tenant)
        } else {
          #expect(fail(hours, &failed))
        }
        guard tries < 100 * (damaged.count + 1) else { break }
      }
      #expect(Set(stale.ranges.flatMap { $0 }) == damaged, "seed \(random.seed)")
      #expect(tries <= 25 * damaged.count + 20, "seed \(random.seed): \(tries) tries for \(count) hours")
    }
  }
}
