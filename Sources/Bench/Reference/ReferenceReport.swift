/// What PostgreSQL itself does with the same rows. Rates are by the second, times in microseconds.
public struct ReferenceReport: Codable, Sendable {
  /// Loaded, and what the statistics speak of.
  public var rows = 0
  /// Binary COPY in batches of 1,000, each committed, by one connection.
  public var copyRowsPerSecond = 0.0
  /// A prepared INSERT and its COMMIT, by one connection and by 16 at once.
  public var insertRowsPerSecond = 0.0
  public var insertP50Us = 0.0
  public var insertP99Us = 0.0
  public var insert16RowsPerSecond = 0.0
  /// A prepared SELECT by key, by one connection and by 16 at once.
  public var selectRowsPerSecond = 0.0
  public var selectP50Us = 0.0
  public var selectP99Us = 0.0
  public var select16RowsPerSecond = 0.0
  /// The median of three.
  public var statsUs = 0.0
  /// Where INSERTs were due at a rate, by the second: that rate, and what 16 connections made of it. Times count from
  /// when an INSERT was due.
  public var rate: Double?
  public var pacedInsertRowsPerSecond: Double?
  public var pacedInsertP50Us: Double?
  public var pacedInsertP99Us: Double?
  /// Ended by a signal: what is 0 was not measured.
  public var isInterrupted = false

  /// A run's figures over these, by names that say which way is good.
  public func ratios(to report: LoadReport) -> [String: Double] {
    func ratio(_ a: Double?, _ b: Double) -> Double? {
      guard let a, b > 0 else { return nil }
      return a / b
    }
    let operations = report.operations
    /// Of INSERTs that were due at the same rate.
    func paced(_ time: Double?) -> Double {
      guard let rate, let reportRate = report.rate, abs(reportRate - rate) <= rate / 100 else { return 0 }
      return time ?? 0
    }
    let ratios: [String: Double?] = [
      "records/s over COPY's": ratio(operations["record"]?.recordsPerSecond, copyRowsPerSecond),
      "records/s over single INSERTs' by 16": ratio(operations["record"]?.recordsPerSecond, insert16RowsPerSecond),
      "record p50 over a lone INSERT's": ratio(operations["record"]?.latencyUs.p50, insertP50Us),
      "record p99 over a lone INSERT's p50": ratio(operations["record"]?.latencyUs.p99, insertP50Us),
      "record p50 over INSERTs' by 16 at the same rate": ratio(
        operations["record"]?.latencyUs.p50, paced(pacedInsertP50Us)),
      "record p99 over INSERTs' by 16 at the same rate": ratio(
        operations["record"]?.latencyUs.p99, paced(pacedInsertP99Us)),
      "gets/s over SELECTs' by 16": ratio(operations["get"]?.callsPerSecond, select16RowsPerSecond),
      "get p50 over a lone SELECT's": ratio(operations["get"]?.latencyUs.p50, selectP50Us),
      "plain SQL's time over stats' p50": operations["stats"].flatMap { ratio(statsUs, $0.latencyUs.p50) },
    ]
    return ratios.compactMapValues { $0 }
  }
}
