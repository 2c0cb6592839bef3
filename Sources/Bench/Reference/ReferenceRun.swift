import Core
import Histogram
import NIOCore
import NIOPosix

/// Measures what PostgreSQL does by itself, in a schema of its own that is dropped afterwards.
public struct ReferenceRun: Sendable {
  public var url: String
  public var rows = 200_000
  /// For each of the INSERTs and SELECTs.
  public var seconds = 3.0
  public var seed: UInt64 = 1
  /// Where it is given, only INSERTs are measured: so many are due each second.
  public var rate: Double?

  private static let batchRows = 1000
  private static let connectionsAtOnce = 16
  private static let spanMilliseconds = 30 * Int64.millisecondsPerDay

  public init(url: String) {
    self.url = url
  }

  /// Cancelling the task ends it early, with what was measured so far.
  public func run() async throws -> ReferenceReport {
    let pool = NIOThreadPool(numberOfThreads: Self.connectionsAtOnce)
    pool.start()
    let stop = StopFlag()
    do {
      let report = try await withTaskCancellationHandler {
        try await measure(on: pool, stop)
      } onCancel: {
        stop.set()
      }
      try await pool.shutdownGracefully()
      return report
    } catch {
      try await pool.shutdownGracefully()
      throw error
    }
  }

  private func measure(on pool: NIOThreadPool, _ stop: StopFlag) async throws -> ReferenceReport {
    let contents = ContentPool(seed: seed)
    let table = ReferenceTable(contents)
    do {
      var report = ReferenceReport()
      report.rows = rows
      let (copied, ids) = try await pool.runIfActive { try load(table, contents, stop) }
      if let rate {
        try await insert(at: rate, table, contents, on: pool, stop, &report)
      } else {
        report.copyRowsPerSecond = copied
        try await measure(table, contents, ids, on: pool, stop, &report)
      }
      report.isInterrupted = stop.isSet
      try await pool.runIfActive { try ReferenceSession(url).run(ReferenceTable.drop) }
      return report
    } catch {
      try? await pool.runIfActive { try ReferenceSession(url).run(ReferenceTable.drop) }
      throw error
    }
  }

  /// What each statement does by one connection and by several, as fast as they can.
  private func measure(
    _ table: ReferenceTable, _ contents: ContentPool, _ ids: [InteractionID], on pool: NIOThreadPool,
    _ stop: StopFlag, _ report: inout ReferenceReport
  ) async throws {
    let insert = try await atOnce(1, on: pool) { try self.insert(table, contents, $0, stop) }
    (report.insertRowsPerSecond, report.insertP50Us, report.insertP99Us) = (insert.rate, insert.p50, insert.p99)
    report.insert16RowsPerSecond =
      try await atOnce(Self.connectionsAtOnce, on: pool) { try self.insert(table, contents, $0, stop) }.rate
    let select = try await atOnce(1, on: pool) { try self.select(ids, $0, stop) }
    (report.selectRowsPerSecond, report.selectP50Us, report.selectP99Us) = (select.rate, select.p50, select.p99)
    report.select16RowsPerSecond =
      try await atOnce(Self.connectionsAtOnce, on: pool) { try self.select(ids, $0, stop) }.rate
    report.statsUs = try await pool.runIfActive { try stats(stop) }
  }

  /// INSERTs that are due at that rate, by several connections.
  private func insert(
    at rate: Double, _ table: ReferenceTable, _ contents: ContentPool, on pool: NIOThreadPool, _ stop: StopFlag,
    _ report: inout ReferenceReport
  ) async throws {
    // The connections are made before the first is due.
    let calls = SteadyCalls(rate: rate, seconds: seconds, from: SteadyCalls.now + 1_000_000_000)
    let times = try await atOnce(Self.connectionsAtOnce, on: pool) { worker in
      try inserts(table, contents, worker) { insert throws(ReferenceFailure) in
        try calls.run(stop, insert)
      }
    }.times
    report.rate = rate
    report.pacedInsertRowsPerSecond = Double(times.totalCount) / seconds
    report.pacedInsertP50Us = Double(times.valueAtPercentile(50)) / 1000
    report.pacedInsertP99Us = Double(times.valueAtPercentile(99)) / 1000
  }

  private func stream(_ contents: ContentPool, _ worker: Int) -> RecordStream {
    RecordStream(
      pool: contents, tenants: .zipf(1), tenantCount: 1, seed: seed &+ UInt64(worker),
      freshness: .random(in: .min ... .max))
  }

  // MARK: The figures

  /// Rows a second, and the ids of the rows.
  private func load(
    _ table: ReferenceTable, _ contents: ContentPool, _ stop: StopFlag
  ) throws(ReferenceFailure) -> (Double, [InteractionID]) {
    let session = try ReferenceSession(url)
    try session.run(ReferenceTable.create)
    var stream = stream(contents, 0)
    let end = Timestamp.now
    var ids: [InteractionID] = []
    var tuples = TupleFields()
    var spent = Duration.zero
    while ids.count < rows, !stop.isSet {
      let count = min(Self.batchRows, rows - ids.count)
      tuples.removeAll()
      tuples.append(ReferenceTable.copyHeader)
      for _ in 0..<count {
        let age = Self.spanMilliseconds * Int64(rows - ids.count) / Int64(rows)
        let item = stream.next(at: end - age)
        tuples.beginTuple(ReferenceTable.columnCount)
        table.append(item, to: &tuples)
        ids.append(item.id)
      }
      tuples.append(ReferenceTable.copyTrailer)
      // Only what PostgreSQL and libpq do counts.
      let start = ContinuousClock.now
      try session.copy(ReferenceTable.copy, tuples)
      spent += .now - start
    }
    try session.run("VACUUM ANALYZE interactions")
    return (Double(ids.count) / max(spent / .seconds(1), 0.000_001), ids)
  }

  private func insert(
    _ table: ReferenceTable, _ contents: ContentPool, _ worker: Int, _ stop: StopFlag
  ) throws(ReferenceFailure) -> Histogram<UInt64> {
    try inserts(table, contents, worker) { insert throws(ReferenceFailure) in try repeated(stop, insert) }
  }

  /// Has `body` insert row after row by a connection of its own.
  private func inserts(
    _ table: ReferenceTable, _ contents: ContentPool, _ worker: Int,
    _ body: (_ insert: () throws(ReferenceFailure) -> Void) throws(ReferenceFailure) -> Histogram<UInt64>
  ) throws(ReferenceFailure) -> Histogram<UInt64> {
    let session = try ReferenceSession(url)
    try session.prepare("insert", ReferenceTable.insert)
    var stream = stream(contents, worker + 1)
    var fields = TupleFields()
    return try body { () throws(ReferenceFailure) in
      fields.removeAll()
      table.append(stream.next(at: .now), to: &fields)
      _ = try session.execute("insert", fields, count: ReferenceTable.columnCount)
    }
  }

  private func select(
    _ ids: [InteractionID], _ worker: Int, _ stop: StopFlag
  ) throws(ReferenceFailure) -> Histogram<UInt64> {
    let session = try ReferenceSession(url)
    try session.prepare("select", ReferenceTable.select)
    var random = SeededRandom(seed: seed &+ UInt64(worker))
    var fields = TupleFields()
    return try repeated(stop) { () throws(ReferenceFailure) in
      fields.removeAll()
      fields.add(ids[random.index(below: ids.count)])
      fields.add(ReferenceTable.tenant)
      guard try session.execute("select", fields, count: 2) == 1 else {
        throw ReferenceFailure(description: "a row that was loaded is not there")
      }
    }
  }

  /// The median of three, in microseconds.
  private func stats(_ stop: StopFlag) throws(ReferenceFailure) -> Double {
    let session = try ReferenceSession(url)
    var times: [Double] = []
    while times.count < 3, !stop.isSet {
      let start = ContinuousClock.now
      for statement in ReferenceTable.stats { try session.run(statement) }
      times.append((.now - start) / .microseconds(1))
    }
    return times.isEmpty ? 0 : times.sorted()[times.count / 2]
  }

  // MARK: Measuring

  /// In nanoseconds.
  private func repeated(
    _ stop: StopFlag, _ body: () throws(ReferenceFailure) -> Void
  ) throws(ReferenceFailure) -> Histogram<UInt64> {
    var times = Histogram<UInt64>(highestTrackableValue: 3_600_000_000_000)
    let end = ContinuousClock.now + .seconds(seconds)
    var start = ContinuousClock.now
    while start < end, !stop.isSet {
      try body()
      let now = ContinuousClock.now
      times.record(UInt64(max((now - start) / .nanoseconds(1), 1)))
      start = now
    }
    return times
  }

  private func atOnce(
    _ count: Int, on pool: NIOThreadPool, _ body: @escaping @Sendable (Int) throws -> Histogram<UInt64>
  ) async throws -> (times: Histogram<UInt64>, rate: Double, p50: Double, p99: Double) {
    let start = ContinuousClock.now
    let all = try await withThrowingTaskGroup(of: Histogram<UInt64>.self) { group in
      for worker in 0..<count { group.addTask { try await pool.runIfActive { try body(worker) } } }
      var all = Histogram<UInt64>(highestTrackableValue: 3_600_000_000_000)
      for try await times in group { all.add(times) }
      return all
    }
    let elapsed = (.now - start) / .seconds(1)
    return (
      all, Double(all.totalCount) / elapsed, Double(all.valueAtPercentile(50)) / 1000,
      Double(all.valueAtPercentile(99)) / 1000
    )
  }
}
