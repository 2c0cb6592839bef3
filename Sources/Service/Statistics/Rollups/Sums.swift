import Core
import Postgres

/// All measures of some interactions, in a form that can be added up without loss. Every sum wraps: no numbers, wherever
/// they come from, make it trap.
struct Sums {
  private let plan: MeasurePlan
  /// By their places in the plan; wider than in a response, for no number of costs may pass it.
  private var numbers: [Int128]
  private var distributions: [TimeHistogram]
  /// The newest generation of the sums that were read into this one.
  private var generation = 0

  init(_ plan: MeasurePlan) {
    self.plan = plan
    numbers = [Int128](repeating: 0, count: plan.numbersMax.count)
    distributions = [TimeHistogram](repeating: TimeHistogram(), count: plan.distributionCounts.count)
  }

  var count: Int64 { Int64(truncatingIfNeeded: numbers[0]) }

  mutating func add(_ entry: ChangeEntry) { add(entry, times: 1) }

  /// Takes away an entry that was added before.
  mutating func remove(_ entry: ChangeEntry) { add(entry, times: -1) }

  private mutating func add(_ entry: ChangeEntry, times sign: Int64) {
    numbers.withUnsafeMutableBufferPointer { numbers in
      for step in plan.steps {
        switch step {
        case .one(let place): numbers[place] &+= Int128(sign)
        case .handoffs(let place): if entry.group.handoffTriggered { numbers[place] &+= Int128(sign) }
        case .confidenceMicros(let place):
          numbers[place] &+= Int128(sign &* Int64((entry.confidence * 1_000_000).rounded(.toNearestOrEven)))
        case .confidenceBins(let place): numbers[place + Int(entry.confidenceBin)] &+= Int128(sign)
        // The greatest number there is, taken away, still fits.
        case .sum(let input, let place): numbers[place] &+= Int128(sign &* (entry.inputs[input] ?? 0))
        case .known(let input, let place): if entry.inputs[input] != nil { numbers[place] &+= Int128(sign) }
        case .equal(let input, let value, let place):
          if entry.inputs[input] == value { numbers[place] &+= Int128(sign) }
        case .distribution(let input, let index):
          guard let number = entry.inputs[input] else { continue }
          distributions[index].add(sign, toBucket: TimeHistogram.bucket(of: Int32(clamping: number)))
        }
      }
    }
  }

  mutating func merge(_ other: Sums) {
    precondition(numbers.count == other.numbers.count && distributions.count == other.distributions.count)
    numbers.withUnsafeMutableBufferPointer { numbers in
      other.numbers.withUnsafeBufferPointer { added in
        for place in numbers.indices { numbers[place] &+= added[place] }
      }
    }
    for index in distributions.indices { distributions[index].merge(other.distributions[index]) }
    generation = max(generation, other.generation)
  }

  /// As responses have them. A sum beyond 64 bits is refused as PostgreSQL refuses it.
  func stats() throws(PostgresError) -> Stats {
    var narrow: [Int64] = []
    narrow.reserveCapacity(numbers.count)
    for number in numbers {
      guard let number = Int64(exactly: number) else {
        throw PostgresError(kind: .refused(sqlState: "22003"), message: "a sum passes 64 bits")
      }
      narrow.append(number)
    }
    let percentiles = distributions.enumerated().map { index, distribution in
      let count = plan.distributionCounts[index].map { narrow[$0] } ?? distribution.total
      return distribution.percentiles(Measures.percentiles, of: count)
    }
    return Stats(numbers: narrow, percentiles: Array(percentiles.joined()))
  }
}

extension Sums: Equatable {
  static func == (a: Sums, b: Sums) -> Bool { a.numbers == b.numbers && a.distributions == b.distributions }
}

// MARK: As `parley.rollups` keeps them

extension VarintReader {
  /// Reads a distribution: to the end, or behind the number of its buckets. `body` is given how many it has in all, too.
  fileprivate mutating func withBuckets(
    isLast: Bool, _ body: (UnsafeMutableBufferPointer<TimeHistogram.Bucket>, Int64) throws(Unreadable) -> Void
  ) throws(Unreadable) {
    // Each takes two bytes at least.
    let countMax = isLast ? bytesLeft / 2 + 1 : try int(Int.self)
    guard countMax <= bytesLeft / 2 + 1 else { throw .damaged }
    let result = withUnsafeTemporaryAllocation(of: TimeHistogram.Bucket.self, capacity: countMax) { buckets in
      Result { () throws(Unreadable) in
        // A variable of its own is kept in registers.
        var reader = self
        var (number, count, total) = (0, 0, 0 as Int64)
        while count < countMax, !reader.isAtEnd {
          number &+= try reader.int(Int.self)
          guard (0...TimeHistogram.bucketMax).contains(number) else { throw .damaged }
          let bucket = TimeHistogram.Bucket(number: number, count: try reader.int())
          buckets.initializeElement(at: count, to: bucket)
          total &+= bucket.count
          count &+= 1
        }
        guard isLast || count == countMax else { throw .damaged }
        self = reader
        try body(.init(rebasing: buckets[..<count]), total)
      }
    }
    try result.get()
  }
}

extension VarintWriter {
  fileprivate mutating func add(_ distribution: TimeHistogram) {
    var next = 0
    for (index, count) in distribution.counts.enumerated() where count > 0 {
      add(distribution.first + index - next)
      add(UInt64(count))
      next = distribution.first + index
    }
  }
}

extension Sums {
  /// No sums take more: some numbers, and distributions with every bucket there is.
  static func bytesMax(_ plan: MeasurePlan) -> Int32 { Int32(32 * 1024 * max(plan.distributionCounts.count, 1)) }

  /// In the generation that is written now; in a newer one that was read, for nothing of what is kept may be lost.
  var bytes: [UInt8] {
    let generation = max(plan.written, generation)
    let has = plan.generations[generation]
    var writer = VarintWriter()
    writer.add(UInt8(generation + 1))
    for number in numbers.prefix(has.numbers) {
      if let small = UInt64(exactly: number) {
        writer.add(small)
      } else {
        writer.add(UInt128(truncatingIfNeeded: number))
      }
    }
    for distribution in distributions.prefix(has.distributions) {
      // In the first generation there is one, to the end.
      if generation > 0 { writer.add(distribution.counts.count { $0 > 0 }) }
      writer.add(distribution)
    }
    return writer.bytes
  }

  init(_ bytes: UnsafeRawBufferPointer, _ plan: MeasurePlan) throws(Unreadable) {
    self.init(plan)
    try merge(bytes)
  }

  /// Adds what bytes hold, without the cost of a value of its own for it. Where that throws, a part of it may have been
  /// added: then these sums are not to be used any more.
  mutating func merge(_ bytes: UnsafeRawBufferPointer) throws(Unreadable) { try add(bytes, times: 1) }

  /// Takes away what was added before. Where that throws, these sums are not to be used any more.
  mutating func remove(_ bytes: UnsafeRawBufferPointer) throws(Unreadable) { try add(bytes, times: -1) }

  private mutating func add(_ bytes: UnsafeRawBufferPointer, times sign: Int64) throws(Unreadable) {
    guard let format = bytes.first else { throw .damaged }
    let generation = try plan.generation(ofRollup: format)
    self.generation = max(self.generation, generation)
    var reader = VarintReader(bytes)
    _ = try reader.next(UInt8.self)
    let has = plan.generations[generation]
    let result = withUnsafeTemporaryAllocation(of: Int128.self, capacity: has.numbers) { read in
      Result { () throws(Unreadable) in
        try plan.read(UnsafeMutableBufferPointer(rebasing: read[..<has.numbers]), from: &reader)
        numbers.withUnsafeMutableBufferPointer { numbers in
          for place in 0..<has.numbers {
            if sign > 0 { numbers[place] &+= read[place] } else { numbers[place] &-= read[place] }
          }
        }
        for index in 0..<has.distributions {
          let count = plan.distributionCounts[index].flatMap { $0 < has.numbers ? read[$0] : nil }
          try reader.withBuckets(isLast: generation == 0) { (buckets, total) throws(Unreadable) in
            guard count.map({ $0 == total }) ?? (Int128(total) <= read[0]) else { throw .damaged }
            distributions[index].add(buckets, times: sign)
          }
        }
      }
    }
    try result.get()
    if !reader.isAtEnd { throw .damaged }
  }
}

extension MeasurePlan {
  /// Reads as many numbers as there is room for. No sum passes what so many interactions can make, and each interaction is
  /// in one bin of a histogram.
  fileprivate func read(
    _ numbers: UnsafeMutableBufferPointer<Int128>, from reader: inout VarintReader
  ) throws(Unreadable) {
    let count = try reader.int(Int64.self)
    guard count > 0 else { throw .damaged }
    numbers.initializeElement(at: 0, to: Int128(count))
    for place in 1..<numbers.count {
      let max = numbersMax[place]
      if max == .max {
        let number = try reader.int(Int128.self)
        guard number <= Int128(count) &* Int128(max) else { throw .damaged }
        numbers.initializeElement(at: place, to: number)
      } else {
        let number = try reader.int(Int64.self)
        let most = UInt64(count).multipliedFullWidth(by: UInt64(max))
        guard most.high > 0 || UInt64(number) <= most.low else { throw .damaged }
        numbers.initializeElement(at: place, to: Int128(number))
      }
    }
    for (parts, whole) in partitions where parts.upperBound <= numbers.count {
      var sum: Int128 = 0
      for place in parts { sum &+= numbers[place] }
      if sum != numbers[whole] { throw .damaged }
    }
  }
}
