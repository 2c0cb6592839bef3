/// How often each processing time came, in buckets that can be added up: every time below 128 ms has its
/// own; above, each doubling has 64, so that a bucket's middle is off by at most 1/128 of the time.
struct TimeHistogram: Equatable {
  /// The bucket of `counts[0]`.
  private(set) var first = 0
  private(set) var counts: [Int64] = []

  /// A percentile is off by no more than this part of itself.
  static let relativeErrorMax = 1.0 / 128
  /// The last bucket there is.
  static let bucketMax = bucket(of: .max)

  static func bucket(of milliseconds: Int32) -> Int {
    let time = Int(milliseconds)
    guard time >= 128 else { return time }
    let exponent = Int.bitWidth - 1 - time.leadingZeroBitCount
    return 128 + (exponent - 7) * 64 + (time >> (exponent - 6)) - 64
  }

  /// The middle of a bucket, in milliseconds.
  static func time(of bucket: Int) -> Int64 {
    guard bucket >= 128 else { return Int64(bucket) }
    let (doubling, step) = ((bucket - 128) / 64, (bucket - 128) % 64)
    let width = Int64(2) << Int64(doubling)
    return Int64(64 + step) * width + (width - 1) / 2
  }

  /// How often the times of one bucket came.
  struct Bucket {
    /// Up to `bucketMax`.
    var number: Int
    var count: Int64
  }

  /// - Parameter bucket: up to `bucketMax`.
  mutating func add(_ count: Int64, toBucket bucket: Int) {
    // Enough for most, which widen bucket by bucket; those of a single time need none of it.
    if counts.count == 1 { counts.reserveCapacity(256) }
    widen(to: bucket...bucket)
    counts[bucket - first] &+= count
  }

  /// - Parameter buckets: in rising order.
  mutating func add(_ buckets: UnsafeMutableBufferPointer<Bucket>, times sign: Int64) {
    guard let least = buckets.first, let greatest = buckets.last else { return }
    widen(to: least.number...greatest.number)
    counts.withUnsafeMutableBufferPointer { counts in
      for bucket in buckets { counts[bucket.number - first] &+= sign &* bucket.count }
    }
  }

  private mutating func widen(to buckets: ClosedRange<Int>) {
    if counts.isEmpty {
      first = buckets.lowerBound
      counts = Array(repeating: 0, count: buckets.count)
      return
    }
    if buckets.lowerBound < first {
      counts.insert(contentsOf: repeatElement(0, count: first - buckets.lowerBound), at: 0)
      first = buckets.lowerBound
    }
    let missing = buckets.upperBound + 1 - first - counts.count
    if missing > 0 { counts.append(contentsOf: repeatElement(0, count: missing)) }
  }

  mutating func merge(_ other: TimeHistogram) {
    guard let last = other.counts.indices.last else { return }
    widen(to: other.first...other.first + last)
    let offset = other.first - first
    counts.withUnsafeMutableBufferPointer { counts in
      other.counts.withUnsafeBufferPointer { added in
        let counts = UnsafeMutableBufferPointer(rebasing: counts[offset...])
        for index in added.indices { counts[index] &+= added[index] }
      }
    }
  }

  /// How many times there are.
  var total: Int64 { counts.reduce(0, &+) }

  /// Nearest rank (as PostgreSQL's percentile_disc), in milliseconds, for each of the fractions, which must
  /// rise; 0 of nothing.
  ///
  /// - Parameter total: how many times there are.
  func percentiles(_ fractions: [Double], of total: Int64) -> [Int64] {
    guard total > 0 else { return fractions.map { _ in 0 } }
    let ranks = fractions.map { max(Int64(exactly: ($0 * Double(total)).rounded(.up)) ?? .max, 1) }
    var percentiles: [Int64] = []
    var passed: Int64 = 0
    var index = 0
    for rank in ranks {
      while passed < rank, index < counts.count {
        passed &+= max(counts[index], 0)
        index += 1
      }
      if passed >= rank { percentiles.append(Self.time(of: first + index - 1)) }
    }
    // Only where what is kept is damaged are there fewer times than interactions.
    return percentiles + repeatElement(0, count: ranks.count - percentiles.count)
  }
}
