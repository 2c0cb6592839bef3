/// A sum over interactions, declared once: how it is taken from each, and how statistics show it. What change records
/// and rollups hold, how they are merged, counted by SQL, rebuilt and verified, and what GetStats answers follow from the
/// declaration.
package struct Measure: Sendable {
  /// How it is taken from an interaction. Fields are named as in `InteractionContent.fields`.
  package enum Source: Sendable {
    /// Each interaction counts one.
    case one
    /// Each with a hand-off counts one.
    case handoffs
    /// The confidence scores × 10⁶, each rounded to the nearest (ties to even).
    case confidenceMicros
    /// Ten counts: [0, 0.1), [0.1, 0.2) … [0.9, 1.0].
    case confidenceBins
    /// The sum of a field of whole numbers, so far as they are known.
    case sum(of: String)
    /// How many interactions have a known number there.
    case known(String)
    /// How many have that number there.
    case number(String, equalTo: Int64)
    /// How often each number came there, for percentiles.
    case distribution(of: String)
  }

  /// How statistics show it.
  package enum Shown: Sendable {
    /// As it is, by the measure's name.
    case sum
    /// Divided by a measure that counts, and by a unit. 0 where there is nothing to divide by.
    case mean(String, unit: Double = 1, of: String = "total_interactions")
    /// Its percentiles: "p50_NAME", "p95_NAME", "p99_NAME".
    case percentiles
  }

  package let name: String
  package let source: Source
  package let shown: Shown
  /// The first generation of stored formats that has it.
  package let since: Int

  package init(_ name: String, _ source: Source, shown: Shown = .sum, since: Int = 0) {
    self.name = name
    self.source = source
    self.shown = shown
    self.since = since
  }

  /// How many numbers it is.
  package var width: Int {
    switch source {
    case .confidenceBins: Measures.confidenceBinsCount
    case .distribution: 0
    case .one, .handoffs, .confidenceMicros, .sum, .known, .number: 1
    }
  }
}

/// All measures, in the order in which stored formats have them. A measure of a later generation stands behind those of
/// the generations before.
package struct Measures: Sendable {
  package let all: [Measure]
  /// The generation of stored formats that servers write: the newest that every server can read which may run now. What is of
  /// a later one is read, and not written.
  package let written: Int
  /// Where the numbers of each are among all; of a distribution, where its percentiles are among all percentiles.
  package let places: [Range<Int>]
  package let numbersCount: Int

  package static let confidenceBinsCount = 10
  /// Those that statistics tell of a distribution.
  package static let percentiles = [0.5, 0.95, 0.99]

  package init(_ all: [Measure], written: Int) {
    precondition(
      all.map(\.since) == all.map(\.since).sorted(), "a measure stands before one of an earlier generation")
    guard case .one? = all.first?.source else { preconditionFailure("the first measure has to count interactions") }
    precondition((0...all.last!.since).contains(written), "no measure is of the generation that is to be written")
    self.all = all
    self.written = written
    var (places, numbers, percentiles) = ([Range<Int>](), 0, 0)
    for measure in all {
      if case .distribution = measure.source {
        places.append(percentiles..<percentiles + Self.percentiles.count)
        percentiles += Self.percentiles.count
      } else {
        places.append(numbers..<numbers + measure.width)
        numbers += measure.width
      }
    }
    self.places = places
    numbersCount = numbers
  }

  package var percentilesCount: Int {
    all.count { if case .distribution = $0.source { true } else { false } } * Self.percentiles.count
  }

  /// Where the numbers of a measure are; not of a distribution.
  package func place(of name: String) -> Range<Int> {
    let index = all.firstIndex { $0.name == name && $0.width > 0 }
    guard let index else { preconditionFailure("there is no measure \(name)") }
    return places[index]
  }
}

extension Measures {
  /// To add one, declare it here `since` a new generation, and add it to Stats in proto/. It is written once `written` is
  /// raised, which a later release does: Sources/Service/Statistics/README.md tells when.
  package static let standard = Measures(
    [
      Measure("total_interactions", .one),
      Measure("total_cost_nanos", .sum(of: "estimated_cost_nanos")),
      Measure("confidence_micros", .confidenceMicros, shown: .mean("avg_confidence", unit: 1_000_000)),
      Measure("handoff_count", .handoffs),
      Measure("prompt_tokens", .sum(of: "prompt_tokens")),
      Measure("completion_tokens", .sum(of: "completion_tokens")),
      Measure("processing_time_ms", .sum(of: "processing_time_ms"), shown: .mean("avg_processing_time_ms")),
      Measure("confidence_histogram", .confidenceBins),
      Measure("processing_time_ms", .distribution(of: "processing_time_ms"), shown: .percentiles),
    ], written: 0)
}
