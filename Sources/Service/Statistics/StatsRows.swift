import Core
import Postgres

/// The kinds of rows of interaction_stats.sql: the bits of its grouping(), set for each column that
/// the row is not grouped by.
private enum StatsRowKind: Int32 {
  case totals = 0b11111
  case model = 0b01111
  case messageType = 0b10111
  case handoffReason = 0b11001
  case point = 0b11110
}

extension StatsReport {
  init(_ rows: Rows, for query: GetStats.Checked, _ measures: Measures) throws(PostgresError) {
    self.init(start: query.start, end: query.end)
    for row in rows {
      guard let kind = StatsRowKind(rawValue: try row.int32(0)) else {
        throw PostgresError(kind: .unexpectedResponse, message: "an unknown kind of statistics row")
      }
      let stats = try Stats(row, measures)
      switch kind {
      case .totals: totals = stats
      case .model: byModel.append(try StatsGroup(row, stats))
      case .messageType: byMessageType.append(try StatsGroup(row, stats))
      case .handoffReason:
        if try row.bool(2) { byHandoffReason.append(try StatsGroup(row, stats)) }
      case .point:
        if !row.isNull(3) {
          series.append(StatsPoint(start: Timestamp(milliseconds: try row.int64(3)), stats: stats))
        }
      }
    }
    series.sort { $0.start < $1.start }
    for groups in [\StatsReport.byModel, \.byMessageType, \.byHandoffReason] {
      // The remainder may outnumber the largest group; it stands last all the same.
      if let place = self[keyPath: groups].firstIndex(where: \.isRemainder) {
        let remainder = self[keyPath: groups].remove(at: place)
        self[keyPath: groups].append(remainder)
      }
    }
  }
}

extension StatsGroup {
  fileprivate init(_ row: Row, _ stats: Stats) throws(PostgresError) {
    let isRemainder = row.isNull(1)
    self.init(key: isRemainder ? "" : try row.text(1), stats: stats, isRemainder: isRemainder)
  }
}

extension Stats {
  /// From the columns that `MeasurePlan.sums` names.
  fileprivate init(_ row: Row, _ measures: Measures) throws(PostgresError) {
    var column = 4
    var numbers: [Int64] = []
    for _ in 0..<measures.numbersCount {
      numbers.append(try row.int64(column))
      column += 1
    }
    var percentiles: [Int64] = []
    for _ in 0..<measures.percentilesCount {
      // NULL of nothing.
      percentiles.append(row.isNull(column) ? 0 : Int64(try row.int32(column)))
      column += 1
    }
    self.init(numbers: numbers, percentiles: percentiles)
  }
}
