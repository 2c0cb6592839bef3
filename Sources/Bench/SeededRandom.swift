import Glibc

/// Random numbers that are the same for the same seed (xoshiro256**, seeded by splitmix64). Not for secrets.
public struct SeededRandom: RandomNumberGenerator, Sendable {
  private var state: (UInt64, UInt64, UInt64, UInt64)

  public init(seed: UInt64) {
    var seed = seed
    func split() -> UInt64 {
      seed &+= 0x9e37_79b9_7f4a_7c15
      return mixed(seed)
    }
    state = (split(), split(), split(), split())
  }

  public mutating func next() -> UInt64 {
    let result = rotated(state.1 &* 5, 7) &* 9
    let shifted = state.1 << 17
    state.2 ^= state.0
    state.3 ^= state.1
    state.1 ^= state.2
    state.0 ^= state.3
    state.2 ^= shifted
    state.3 = rotated(state.3, 45)
    return result
  }

  /// From 0 up to and without 1.
  mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// From 0 up to and without `count`.
  mutating func index(below count: Int) -> Int {
    Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(count)).high)
  }

  mutating func integer(in range: ClosedRange<Int>) -> Int { range.lowerBound + index(below: range.count) }

  /// With mean 0 and deviation 1 (Box and Muller).
  mutating func normal() -> Double {
    sqrt(-2 * log(1 - unit())) * cos(2 * .pi * unit())
  }

  mutating func logNormal(median: Double, sigma: Double) -> Double { median * exp(sigma * normal()) }
}

/// Spreads every bit of a number over all of the result (splitmix64's finalizer).
func mixed(_ value: UInt64) -> UInt64 {
  var value = value
  value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
  value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
  return value ^ value >> 31
}

private func rotated(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }

/// A choice among numbered things, each with a share of its own.
public struct Shares: Sendable {
  /// Rising; the last is 1.
  private let cumulative: [Double]

  /// - Parameter weights: none negative, and one above 0.
  public init(_ weights: [Double]) {
    let sum = weights.reduce(0, +)
    var total = 0.0
    cumulative = weights.map { weight in
      total += weight
      return total / sum
    }
  }

  /// Zipf's law: the k-th thing is k times rarer than the first.
  public static func zipf(_ count: Int) -> Shares { Shares((1...count).map { 1 / Double($0) }) }

  func pick(_ random: inout SeededRandom) -> Int {
    guard cumulative.count > 1 else { return 0 }
    let place = random.unit()
    var (low, high) = (0, cumulative.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if cumulative[middle] > place { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
