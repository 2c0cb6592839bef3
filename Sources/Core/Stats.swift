/// The counts and sums of some interactions. All integers, so that every way to add them up agrees; averages and rates
/// are derived. `Measures` declares what there is.
public struct Stats: Hashable, Sendable {
  /// By the places that `Measures` gives.
  package var numbers: [Int64]
  /// Those of each distribution in turn. Nearest rank.
  package var percentiles: [Int64]

  /// Of nothing.
  public init() {
    let measures = Measures.standard
    self.init(
      numbers: [Int64](repeating: 0, count: measures.numbersCount),
      percentiles: [Int64](repeating: 0, count: measures.percentilesCount))
  }

  package init(numbers: [Int64], percentiles: [Int64]) {
    self.numbers = numbers
    self.percentiles = percentiles
  }
}

// MARK: By name

extension Stats {
  public var totalInteractions: Int64 {
    get { numbers[Place.totalInteractions] }
    set { numbers[Place.totalInteractions] = newValue }
  }
  /// US dollars × 10⁻⁹.
  public var totalCostNanos: Int64 {
    get { numbers[Place.totalCostNanos] }
    set { numbers[Place.totalCostNanos] = newValue }
  }
  /// The confidence scores × 10⁶, each rounded to the nearest (ties to even).
  public var confidenceMicros: Int64 {
    get { numbers[Place.confidenceMicros] }
    set { numbers[Place.confidenceMicros] = newValue }
  }
  public var handoffCount: Int64 {
    get { numbers[Place.handoffCount] }
    set { numbers[Place.handoffCount] = newValue }
  }
  public var promptTokens: Int64 {
    get { numbers[Place.promptTokens] }
    set { numbers[Place.promptTokens] = newValue }
  }
  public var completionTokens: Int64 {
    get { numbers[Place.completionTokens] }
    set { numbers[Place.completionTokens] = newValue }
  }
  public var processingTimeMilliseconds: Int64 {
    get { numbers[Place.processingTimeMilliseconds] }
    set { numbers[Place.processingTimeMilliseconds] = newValue }
  }
  /// Ten counts: [0, 0.1), [0.1, 0.2) … [0.9, 1.0].
  public var confidenceHistogram: [Int64] {
    get { Array(numbers[Place.confidenceHistogram]) }
    set { set(newValue, at: Place.confidenceHistogram) }
  }
  /// Of processing times, in milliseconds.
  public var p50: Int64 {
    get { percentiles[0] }
    set { percentiles[0] = newValue }
  }
  public var p95: Int64 {
    get { percentiles[1] }
    set { percentiles[1] = newValue }
  }
  public var p99: Int64 {
    get { percentiles[2] }
    set { percentiles[2] = newValue }
  }

  // These wrap: nothing that is kept, damaged or written by other programs, ends the process.

  /// A confidence score of at least 0.7.
  public var highConfidenceCount: Int64 { numbers[Place.highConfidence].reduce(0, &+) }
  public var lowConfidenceCount: Int64 { totalInteractions &- highConfidenceCount }
  public var totalTokens: Int64 { promptTokens &+ completionTokens }
  public var averageConfidence: Double { mean(confidenceMicros) / 1_000_000 }
  public var handoffRate: Double { mean(handoffCount) }
  public var averageProcessingTimeMilliseconds: Double { mean(processingTimeMilliseconds) }
  public var averageTokens: Double { mean(totalTokens) }

  private func mean(_ sum: Int64) -> Double {
    totalInteractions == 0 ? 0 : Double(sum) / Double(totalInteractions)
  }

  /// As many as there are places: what is missing is 0.
  mutating func set(_ values: [Int64], at places: Range<Int>) {
    for (index, place) in places.enumerated() { numbers[place] = index < values.count ? values[index] : 0 }
  }

  private enum Place {
    static let totalInteractions = place("total_interactions")
    static let totalCostNanos = place("total_cost_nanos")
    static let confidenceMicros = place("confidence_micros")
    static let handoffCount = place("handoff_count")
    static let promptTokens = place("prompt_tokens")
    static let completionTokens = place("completion_tokens")
    static let processingTimeMilliseconds = place("processing_time_ms")
    static let confidenceHistogram = Measures.standard.place(of: "confidence_histogram")
    static let highConfidence = confidenceHistogram.dropFirst(7)

    private static func place(_ name: String) -> Int { Measures.standard.place(of: name).lowerBound }
  }
}

// MARK: As a message and JSON have them

/// A field of the message Stats.
package struct StatsField: Sendable {
  package enum Value: Sendable, Equatable {
    case whole(Int64)
    case real(Double)
    case wholes([Int64])
  }

  package typealias Get = @Sendable (Stats) -> Value
  package typealias Set = @Sendable (inout Stats, Value) throws(RPCError) -> Void

  package let name: String
  package let get: Get
  /// Takes over what a message says; nil for what follows from other fields. The sums behind averages travel as averages.
  /// They are found again by the counts, which is exact as long as a sum stays below 2⁵³.
  package let set: Set?
  package let isList: Bool

  private init(_ name: String, isList: Bool = false, get: @escaping Get, set: Set? = nil) {
    self.name = name
    self.isList = isList
    self.get = get
    self.set = set
  }

  package static let all = fields(of: .standard) + derived

  /// What follows from several measures.
  private static let derived = [
    StatsField("handoff_rate", get: { .real($0.handoffRate) }),
    StatsField("total_tokens", get: { .whole($0.totalTokens) }),
    StatsField("avg_tokens", get: { .real($0.averageTokens) }),
    StatsField("high_confidence_count", get: { .whole($0.highConfidenceCount) }),
    StatsField("low_confidence_count", get: { .whole($0.lowConfidenceCount) }),
  ]

  /// Counts stand before the averages that are found again by them.
  package static func fields(of measures: Measures) -> [StatsField] {
    var (sums, means): ([StatsField], [StatsField]) = ([], [])
    for (measure, places) in zip(measures.all, measures.places) {
      switch measure.shown {
      case .sum: sums.append(places.count == 1 ? sum(measure, at: places.lowerBound) : list(measure, at: places))
      case .mean(let name, let unit, let count):
        means.append(mean(name, unit: unit, at: places.lowerBound, by: measures.place(of: count).lowerBound))
      case .percentiles: sums += zip(Measures.percentiles, places).map { percentile($0, of: measure, at: $1) }
      }
    }
    return sums + means
  }

  private static func sum(_ measure: Measure, at place: Int) -> StatsField {
    StatsField(
      measure.name, get: { .whole($0.numbers[place]) },
      set: { (stats, value) throws(RPCError) in stats.numbers[place] = try value.whole(measure.name) })
  }

  private static func list(_ measure: Measure, at places: Range<Int>) -> StatsField {
    StatsField(
      measure.name, isList: true, get: { .wholes(Array($0.numbers[places])) },
      set: { (stats, value) throws(RPCError) in if case .wholes(let values) = value { stats.set(values, at: places) } })
  }

  private static func mean(_ name: String, unit: Double, at place: Int, by count: Int) -> StatsField {
    StatsField(
      name,
      get: { stats in
        let (sum, count) = (stats.numbers[place], stats.numbers[count])
        return .real(count == 0 ? 0 : Double(sum) / Double(count) / unit)
      },
      set: { (stats, value) throws(RPCError) in
        guard case .real(let mean) = value else { return }
        stats.numbers[place] = try Value.real(mean * unit * Double(stats.numbers[count])).whole(name)
      })
  }

  private static func percentile(_ fraction: Double, of measure: Measure, at place: Int) -> StatsField {
    let name = "p\(Int((fraction * 100).rounded()))_\(measure.name)"
    return StatsField(
      name, get: { .whole($0.percentiles[place]) },
      set: { (stats, value) throws(RPCError) in stats.percentiles[place] = try value.whole(name) })
  }
}

extension StatsField.Value {
  fileprivate func whole(_ field: String) throws(RPCError) -> Int64 {
    switch self {
    case .whole(let value): return value
    case .real(let value):
      guard let whole = Int64(exactly: value.rounded()) else { throw .invalid(field, "is \(value), out of range") }
      return whole
    case .wholes: throw .invalid(field, "is a list")
    }
  }
}
