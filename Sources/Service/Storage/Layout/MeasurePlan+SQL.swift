import Core

// How interaction_stats.sql counts, by other means than ours: `parley verify` holds the two against each other.

extension MeasurePlan {
  /// The inputs of a row, each as the nearest number that keeps its rule.
  var clampedInputs: String {
    zip(inputFields, inputs).map { field, input in
      // greatest() passes over NULL.
      let clamped = "least(greatest(\(field.name), 0), \(input.nearestMax))"
      return input.isOptional
        ? "CASE WHEN \(field.name) IS NOT NULL THEN \(clamped) END AS \(field.name)" : "\(clamped) AS \(field.name)"
    }.joined(separator: ",\n    ")
  }

  /// The columns of a row of statistics: the numbers by their places, and then the percentiles.
  var sums: [String] {
    let numbers = measures.all.filter { $0.width > 0 }.map(Self.sum)
    let percentiles = measures.all.flatMap { measure -> [String] in
      guard case .distribution(let field) = measure.source else { return [] }
      return Measures.percentiles.map { "percentile_disc(\($0)) WITHIN GROUP (ORDER BY \(field))" }
    }
    return numbers + percentiles
  }

  private static func sum(_ measure: Measure) -> String {
    switch measure.source {
    case .one: "count(*) AS total_interactions"
    case .handoffs: "count(*) FILTER (WHERE handoff_triggered)"
    case .confidenceMicros: "coalesce(sum(round(confidence_score * 1000000)::int8), 0)::int8"
    case .confidenceBins:
      (0..<Measures.confidenceBinsCount).map { bin in
        let least = bin > 0 ? "confidence_score >= 0.\(bin)" : "true"
        let most = bin + 1 < Measures.confidenceBinsCount ? "confidence_score < 0.\(bin + 1)" : "true"
        return "count(*) FILTER (WHERE \(least) AND \(most))"
      }.joined(separator: ",\n  ")
    // Fails rather than wraps where the sum passes 64 bits.
    case .sum(let field): "coalesce(sum(\(field)), 0)::int8"
    case .known(let field): "count(\(field))"
    case .number(let field, equalTo: let value): "count(*) FILTER (WHERE \(field) = \(value))"
    case .distribution: ""
    }
  }
}
