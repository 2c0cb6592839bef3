import Domain
import Postgres

/// The counts and sums of some interactions, in a form that can be added up without loss. Every sum wraps: no numbers,
/// wherever they come from, make it trap.
struct Sums: Equatable {
  private(set) var count: Int64 = 0
  /// Wider than an answer's, for no number of costs may pass it.
  private var costNanos: Int128 = 0
  private var confidenceMicros: Int64 = 0
  private var handoffCount: Int64 = 0
  private var promptTokens: Int64 = 0
  private var completionTokens: Int64 = 0
  private var processingTimeMilliseconds: Int64 = 0
  private var bins = [Int64](repeating: 0, count: Fact.binEdges.count)
  private var times = TimeHistogram()

  init() {}

  mutating func add(_ fact: Fact) { add(fact, times: 1) }

  /// Takes away a fact that was added before.
  mutating func remove(_ fact: Fact) { add(fact, times: -1) }

  @inline(__always)
  private mutating func add(_ fact: Fact, times sign: Int64) {
    count &+= sign
    costNanos &+= Int128(sign) &* Int128(fact.costNanos)
    confidenceMicros &+= sign &* Self.micros(fact)
    handoffCount &+= fact.group.handoffTriggered ? sign : 0
    promptTokens &+= sign &* Int64(fact.promptTokens)
    completionTokens &+= sign &* Int64(fact.completionTokens)
    processingTimeMilliseconds &+= sign &* Int64(fact.processingTimeMilliseconds)
    bins[Int(fact.confidenceBin)] &+= sign
    times.add(sign, toBucket: TimeHistogram.bucket(of: fact.processingTimeMilliseconds))
  }

  private static func micros(_ fact: Fact) -> Int64 {
    Int64((fact.confidence * 1_000_000).rounded(.toNearestOrEven))
  }

  mutating func merge(_ other: Sums) {
    count &+= other.count
    costNanos &+= other.costNanos
    confidenceMicros &+= other.confidenceMicros
    handoffCount &+= other.handoffCount
    promptTokens &+= other.promptTokens
    completionTokens &+= other.completionTokens
    processingTimeMilliseconds &+= other.processingTimeMilliseconds
    for bin in bins.indices { bins[bin] &+= other.bins[bin] }
    times.merge(other.times)
  }

  /// As answers tell them. A sum past 64 bits is refused as PostgreSQL refuses it.
  func stats() throws(PostgresError) -> Stats {
    var stats = Stats()
    guard let cost = Int64(exactly: costNanos) else {
      throw PostgresError(kind: .refused(sqlState: "22003"), message: "the sum of costs passes 64 bits")
    }
    stats.totalInteractions = count
    stats.totalCostNanos = cost
    stats.confidenceMicros = confidenceMicros
    stats.handoffCount = handoffCount
    stats.promptTokens = promptTokens
    stats.completionTokens = completionTokens
    stats.processingTimeMilliseconds = processingTimeMilliseconds
    stats.confidenceHistogram = bins
    stats.highConfidenceCount = bins[7...].reduce(0, &+)
    let percentiles = times.percentiles([0.5, 0.95, 0.99], of: count)
    (stats.p50, stats.p95, stats.p99) = (percentiles[0], percentiles[1], percentiles[2])
    return stats
  }
}

// MARK: As `parley.rollups` keeps them

extension VarintReader {
  /// Reads to the end what a histogram was written as.
  fileprivate mutating func withBuckets(
    _ body: (UnsafeMutableBufferPointer<TimeHistogram.Bucket>) throws(Unreadable) -> Void
  ) throws(Unreadable) {
    // Each takes two bytes at least.
    let result = withUnsafeTemporaryAllocation(
      of: TimeHistogram.Bucket.self, capacity: bytesLeft / 2 + 1
    ) { buckets in
      Result { () throws(Unreadable) in
        var (number, count) = (0, 0)
        while !isAtEnd {
          number &+= try int(Int.self)
          guard (0...TimeHistogram.bucketMax).contains(number) else { throw .damaged }
          buckets.initializeElement(at: count, to: .init(number: number, count: try int()))
          count += 1
        }
        try body(.init(rebasing: buckets[..<count]))
      }
    }
    try result.get()
  }
}

extension Sums {
  /// The number of the format, the first byte.
  private static let format: UInt8 = 1
  /// No sums take more: sixteen numbers and a histogram with every bucket there is.
  static let bytesMax = 32 * 1024

  var bytes: [UInt8] {
    var writer = VarintWriter()
    writer.add(Self.format)
    writer.add(UInt64(truncatingIfNeeded: count))
    writer.add(UInt128(truncatingIfNeeded: costNanos))
    let sums = [confidenceMicros, handoffCount, promptTokens, completionTokens, processingTimeMilliseconds]
    for sum in sums + bins { writer.add(UInt64(truncatingIfNeeded: sum)) }
    var next = 0
    for (index, count) in times.counts.enumerated() where count > 0 {
      writer.add(times.first + index - next)
      writer.add(UInt64(count))
      next = times.first + index
    }
    return writer.bytes
  }

  init(_ bytes: UnsafeRawBufferPointer) throws(Unreadable) {
    try merge(bytes)
  }

  /// Adds what bytes hold, without the cost of a value of its own for it. Where that throws, a part of it may have been
  /// added: then these sums are not to be used any more.
  mutating func merge(_ bytes: UnsafeRawBufferPointer) throws(Unreadable) { try add(bytes, times: 1) }

  /// Takes away what was added before. Where that throws, these sums are not to be used any more.
  mutating func remove(_ bytes: UnsafeRawBufferPointer) throws(Unreadable) { try add(bytes, times: -1) }

  private mutating func add(_ bytes: UnsafeRawBufferPointer, times sign: Int64) throws(Unreadable) {
    var reader = VarintReader(bytes)
    guard let format = bytes.first else { throw .damaged }
    if format != Self.format { throw Unreadable(format: format, known: Self.format) }
    _ = try reader.next(UInt8.self)
    let added: Int64 = try reader.int()
    count &+= sign &* added
    let cost: Int128 = try reader.int()
    costNanos &+= Int128(sign) &* cost
    let confidence: Int64 = try reader.int()
    confidenceMicros &+= sign &* confidence
    let handoffs: Int64 = try reader.int()
    handoffCount &+= sign &* handoffs
    let (prompt, completion, time): (Int64, Int64, Int64) = (try reader.int(), try reader.int(), try reader.int())
    promptTokens &+= sign &* prompt
    completionTokens &+= sign &* completion
    processingTimeMilliseconds &+= sign &* time
    var (binned, timed): (Int64, Int64) = (0, 0)
    for bin in bins.indices {
      let count: Int64 = try reader.int()
      binned &+= count
      bins[bin] &+= sign &* count
    }
    try reader.withBuckets { (buckets) throws(Unreadable) in
      for bucket in buckets { timed &+= bucket.count }
      times.add(buckets, times: sign)
    }
    // Each interaction is in one bin and in one bucket, and no sum passes what so many can make.
    let most = Int128(added)
    guard added > 0, binned == added, timed == added, handoffs <= added, Int128(confidence) <= most * 1_000_000,
      Int128(max(prompt, completion, time)) <= most * Int128(Int32.max), cost <= most * Int128(Int64.max)
    else { throw .damaged }
  }
}
