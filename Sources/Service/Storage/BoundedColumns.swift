import Core

/// Other programs can write into a row what no server would: a text of a gigabyte, or a million intents. Statements that read
/// rows take a bounded part of each, so that a page, a rebuild or a lookup holds what its limits say.
///
/// A text that is longer than allowed is read as its first characters, one more than its limit has bytes: so it is too long
/// still, and equals no text that is allowed. Intents that are too many, or too long together, are read as none. A number is
/// read as the nearest that is allowed. The gate lets none of these through, so nothing that a server has written is read
/// otherwise than whole.
///
/// Each is SQL for a column. `octet_length` of a column and pg_column_size read no value that lies outside of its row.
enum BoundedColumns {
  static func text(_ column: String, bytesMax: Int) -> String {
    "CASE WHEN octet_length(\(column)) <= \(bytesMax) THEN \(column) ELSE left(\(column), \(bytesMax + 1)) END"
  }

  /// The second condition tells the short ones from the others at no cost to speak of. An array that is compressed may be
  /// very long.
  static let intentNames = """
    CASE WHEN cardinality(intent_names) <= \(Limits.intentsMax)
      AND (pg_column_compression(intent_names) IS NULL AND pg_column_size(intent_names) <= 1024
        OR octet_length(array_to_string(intent_names, '')) <= \(Limits.intentsMax * Limits.intentNameBytesMax))
    THEN intent_names ELSE '{}' END
    """

  /// The score nearest to one, as `score(_:)` has it. NaN is greater than any number.
  static let confidenceScore = """
    CASE WHEN confidence_score <= 1 THEN greatest(confidence_score, 0) WHEN confidence_score = 'NaN' THEN 0 ELSE 1 END
    """

  /// The score nearest to one; 0 for no number.
  static func score(_ value: Double) -> Double { value.isNaN ? 0 : min(max(value, 0), 1) }

  /// As many as there are names are used.
  static let intentConfidences =
    "CASE WHEN pg_column_size(intent_confidences) <= 1024 THEN intent_confidences ELSE '{}' END"
}
