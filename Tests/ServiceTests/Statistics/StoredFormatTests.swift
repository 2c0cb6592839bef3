import Core
import TestSupport
import Testing

@testable import Service

/// Bytes as PostgreSQL keeps them, whatever has become of them: read, or refused, and never a trap.
@Suite struct StoredFormatTests {
  /// Bytes that somebody damaged.
  private func damaged(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...3, using: &random) { bytes = random.damage(bytes) }
    return bytes
  }

  private func sums(_ entries: [ChangeEntry]) -> Sums {
    entries.reduce(into: Sums()) { $0.add($1) }
  }

  private func entries(_ count: Int, _ random: inout SeededGenerator) -> [ChangeEntry] {
    (0..<count).map { _ in ChangeEntry(random.interaction(at: random.time())) }
  }

  @Test func damagedSumsAreRefusedOrAddUpWithoutATrap() {
    var random = SeededGenerator()
    var refused = 0
    let rounds = 4000
    for _ in 0..<rounds {
      let bytes = damaged(sums(entries(.random(in: 1...4, using: &random), &random)).bytes, &random)
      var total = sums(entries(3, &random))
      do {
        try bytes.withUnsafeBytes { bytes throws(any Error) in try total.merge(bytes) }
      } catch {
        refused += 1
      }
      // What has been read is added up with others, taken away, told and written.
      for entry in entries(2, &random) {
        total.add(entry)
        total.remove(entry)
      }
      total.merge(total)
      if let stats = try? total.stats() {
        _ = (stats.totalTokens, stats.lowConfidenceCount, stats.averageTokens, stats.averageConfidence)
      }
      let written = total.bytes
      _ = written.withUnsafeBytes { try? Sums($0) }
    }
    #expect(refused > rounds * 3 / 4, "seed \(random.seed): most damage shows")
  }

  @Test func sumsThatNoInteractionsMakeAreRefused() {
    func sums(
      _ count: UInt64, cost: UInt128 = 0, confidence: UInt64 = 0, handoffs: UInt64 = 0, tokens: UInt64 = 0,
      bin: UInt64? = nil, _ buckets: [(Int, UInt64)]
    ) -> [UInt8] {
      var writer = VarintWriter()
      writer.add(UInt8(1))
      writer.add(count)
      writer.add(cost)
      for value in [confidence, handoffs, tokens, tokens, tokens, bin ?? count] { writer.add(value) }
      for _ in 0..<9 { writer.add(UInt8(0)) }
      for (step, count) in buckets {
        writer.add(step)
        writer.add(count)
      }
      return writer.bytes
    }
    func unreadable(_ bytes: [UInt8]) -> Unreadable? {
      bytes.withUnsafeBytes { bytes in
        do throws(Unreadable) { _ = try Sums(bytes) } catch { return error }
        return nil
      }
    }
    let last = TimeHistogram.bucketMax
    #expect(unreadable(sums(2, [(5, 1), (last - 5, 1)])) == nil)
    #expect(unreadable(sums(2, [(5, 1), (last - 4, 1)])) == .damaged)
    #expect(unreadable(sums(1, [(4000, 1)])) == .damaged)
    #expect(unreadable(sums(1, [(.max, 1)])) == .damaged)
    #expect(unreadable(sums(2, [(5, 1)])) == .damaged)
    #expect(unreadable(sums(2, bin: 1, [(5, 2)])) == .damaged)
    #expect(unreadable(sums(2, handoffs: 3, [(5, 2)])) == .damaged)
    #expect(unreadable(sums(2, confidence: 2_000_000, [(5, 2)])) == nil)
    #expect(unreadable(sums(2, confidence: 3_000_000, [(5, 2)])) == .damaged)
    #expect(unreadable(sums(2, tokens: 2 * UInt64(Int32.max), [(5, 2)])) == nil)
    #expect(unreadable(sums(2, tokens: 3 * UInt64(Int32.max), [(5, 2)])) == .damaged)
    #expect(unreadable(sums(2, cost: 2 * UInt128(Int64.max), [(5, 2)])) == nil)
    #expect(unreadable(sums(2, cost: 2 * UInt128(Int64.max) + 1, [(5, 2)])) == .damaged)
    #expect(unreadable(sums(0, [])) == .damaged)
    #expect(unreadable(sums(UInt64(Int64.max) + 1, [(5, 1)])) == .damaged)
    #expect(unreadable([]) == .damaged)
    #expect(unreadable([0]) == .damaged)
    #expect(unreadable([0x80]) == .damaged)
    #expect(unreadable([2]) == .newerFormat)
    #expect(unreadable([0x7f, 1, 2, 3]) == .newerFormat)
  }

  /// Sums that are as great as can be, and agree with each other.
  @Test func theGreatestSumsAddUpWithoutATrap() throws {
    var writer = VarintWriter()
    let most = UInt64(Int64.max)
    writer.add(UInt8(1))
    writer.add(most)
    writer.add(UInt128(most) * UInt128(most))
    for value in [most, most, most, most, most] { writer.add(value) }
    for bin in 0..<10 { writer.add(bin == 9 ? most : 0) }
    writer.add(TimeHistogram.bucketMax)
    writer.add(most)
    var total = Sums()
    for _ in 0..<3 {
      try writer.bytes.withUnsafeBytes { bytes throws(any Error) in try total.merge(bytes) }
      total.add(ChangeEntry(.sample()))
      if let stats = try? total.stats() {
        _ = (stats.totalTokens, stats.lowConfidenceCount, stats.averageTokens, stats.averageConfidence)
      }
    }
  }

  @Test func damagedChangeRecordsAreRefusedAsAWholeOrRead() {
    var random = SeededGenerator()
    for _ in 0..<8000 {
      var writer = ChangeRecordWriter()
      for entry in entries(.random(in: 0...4, using: &random), &random) { writer.append(entry) }
      let bytes = random.chance(0.1) ? writer.bytes : damaged(writer.bytes, &random)
      bytes.withUnsafeBytes { bytes in
        guard let read = try? ChangeRecordReader.entries(bytes) else { return }
        var (rollups, postings, tally) = (Rollups(), Postings(), Sums())
        for entry in read {
          rollups.add(entry, tenant: TenantKey(rawValue: 1))
          postings.add(entry, tenant: TenantKey(rawValue: 1))
          tally.add(entry)
          #expect(
            (0...1).contains(entry.confidence) && StaleHours.everyHour.contains(entry.hour), "seed \(random.seed)")
        }
        _ = rollups.cells(Grain.allCases)
      }
    }
  }

  @Test func aChangeRecordOfANewerFormatIsToldFromADamagedOne() {
    func unreadable(_ bytes: [UInt8]) -> Unreadable? {
      bytes.withUnsafeBytes { bytes in
        do throws(Unreadable) { _ = try ChangeRecordReader.entries(bytes) } catch { return error }
        return nil
      }
    }
    var writer = ChangeRecordWriter()
    writer.append(ChangeEntry(.sample()))
    #expect(writer.bytes[0] == 0)
    #expect(unreadable(writer.bytes) == nil)
    #expect(unreadable([]) == nil)
    #expect(unreadable([1] + writer.bytes) == .newerFormat)
    #expect(unreadable([0x7f]) == .newerFormat)
    #expect(unreadable([0x80, 1]) == .damaged)
    #expect(unreadable([0xff]) == .damaged)
    #expect(unreadable([0]) == .damaged)
    #expect(unreadable(writer.bytes.dropLast()) == .damaged)
  }

  @Test func aTallyHoldsABoundedNumberOfGroups() throws {
    let query = try GetStats().checked(tenant: .a, now: .now)
    var tally = StatsTally(query, .standard)
    var entry = ChangeEntry(.sample())
    for index in 0..<Limits.statsGroupsHeldMax {
      entry.group.handoffReason = "\(index)"
      tally.add(entry)
    }
    #expect(!tally.isOverfull)
    tally.add(entry)
    #expect(!tally.isOverfull)
    entry.group.handoffReason = "one more"
    tally.add(entry)
    #expect(tally.isOverfull)
    #expect(tally.interactionCount == Int64(Limits.statsGroupsHeldMax + 1))
  }
}

extension SeededGenerator {
  /// One of the ways that bytes are damaged by.
  mutating func damage(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    let place = bytes.isEmpty ? 0 : Int.random(in: bytes.indices, using: &self)
    let some = (0..<Int.random(in: 1...20, using: &self)).map { _ in UInt8.random(in: 0...255, using: &self) }
    switch Int.random(in: 0..<9, using: &self) {
    case 0, 1: if !bytes.isEmpty { bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &self) }
    case 2: bytes.removeLast(bytes.count - place)
    case 3: bytes += some
    case 4: bytes.insert(contentsOf: some, at: place)
    // A number as great as can be.
    case 5:
      bytes.replaceSubrange(place..<min(place + 1, bytes.count), with: [UInt8](repeating: 0xff, count: 9) + [0x7f])
    case 6: bytes.replaceSubrange(place..<min(place + 1, bytes.count), with: [UInt8](repeating: 0xff, count: 9) + [1])
    case 7: if !bytes.isEmpty { bytes[0] = .random(in: 0...255, using: &self) }
    default: bytes = some
    }
    return bytes
  }
}
