import Domain
import Logging

/// One interaction on its way into its row, encoded once.
struct RecordRow: Sendable {
  let key: Key
  /// The parameters of interaction_insert.sql.
  let values: Parameters
  let fact: Fact
  /// Whose number the key holds. The database decides whether it does.
  let tenantName: Tenant

  init(_ interaction: Interaction, tenant: NumberedTenant) {
    key = Key(tenant: tenant.key.rawValue, id: interaction.id)
    values = Parameters(interaction, tenant: tenant.key)
    fact = Fact(interaction)
    tenantName = tenant.name
  }

  /// The same under another number.
  init(_ row: RecordRow, tenant: TenantKey) {
    var values = row.values
    values.replaceFirst(with: tenant.rawValue)
    key = Key(tenant: tenant.rawValue, id: row.id)
    self.values = values
    fact = row.fact
    tenantName = row.tenantName
  }

  var id: InteractionID { key.id }
  var tenant: TenantKey { TenantKey(rawValue: key.tenant) }

  struct Key: Hashable, Comparable {
    var tenant: Int32
    var id: InteractionID

    static func < (a: Key, b: Key) -> Bool { (a.tenant, a.id) < (b.tenant, b.id) }
  }
}

/// Commits a batch of rows in one transaction and says of each what became of it.
///
/// The rows go in with the deltas they add to the statistics, in the hope that all are new, many of them by
/// COPY. Where that is refused nothing was written; then each is inserted if its key is free, and a row
/// whose key is taken is compared with what is there. A row the database refuses fails alone: the batch is
/// done again row by row. A connection lost in COMMIT leaves open whether it happened; the batch is done
/// again too, and finds by the ids what is there.
///
/// The transaction tells the database which number it takes each tenant to have. If the registry says otherwise, as
/// after a failover, nothing was written; the tenants are looked up again and the batch is done again.
final class BatchWriter: Sendable {
  typealias Outcomes = [Result<Recorded, RPCError>]

  private let connection: PostgresConnection
  private let catalog: Catalog
  private let numbers: TenantNumbers
  private let logger: Logger

  init(_ connection: PostgresConnection, catalog: Catalog, numbers: TenantNumbers, logger: Logger) {
    self.connection = connection
    self.catalog = catalog
    self.numbers = numbers
    self.logger = logger
  }

  /// Runs `body` on the connection's thread.
  func run(_ body: @Sendable (isolated PostgresConnection) async -> Void) async { await connection.stay(body) }

  /// Why none of a batch's rows has an outcome of its own.
  private enum Failure: Error {
    /// The registry has another number for a tenant of the batch.
    case tenantNumberRefused
    case other(RPCError)
  }

  /// - Returns: an outcome for each row, in order; or the error that all of them share.
  nonisolated(nonsending) func write(_ rows: [RecordRow]) async -> Result<Outcomes, RPCError> {
    switch await writeAsNumbered(rows) {
    case .success(let outcomes): return .success(outcomes)
    case .failure(.other(let error)): return .failure(error)
    case .failure(.tenantNumberRefused): break
    }
    switch await numberedAnew(rows) {
    case .failure(let error): return .failure(error.rpcError)
    case .success(let rows):
      return await writeAsNumbered(rows).mapError { failure in
        switch failure {
        case .tenantNumberRefused:
          .databaseUnavailable(cause: "tenants' numbers changed twice while a batch was written")
        case .other(let error): error
        }
      }
    }
  }

  /// The rows under the numbers that the registry has now for their tenants.
  private nonisolated(nonsending) func numberedAnew(_ rows: [RecordRow]) async -> Result<[RecordRow], PostgresError> {
    let names = Set(rows.map(\.tenantName)).sorted {
      $0.description.utf8.lexicographicallyPrecedes($1.description.utf8)
    }
    logger.warning(
      "looking up the numbers of tenants again: the database is another, or an earlier state of it",
      metadata: ["tenants": "\(names.count)"])
    let added = await connection.runRepeatable { (connection) throws(PostgresError) in
      try connection.addTenants(names)
    }
    return added.map { keys in
      let found = Dictionary(uniqueKeysWithValues: zip(names, keys))
      for (name, key) in found { numbers.remember(key, for: name) }
      return rows.map { RecordRow($0, tenant: found[$0.tenantName]!) }
    }
  }

  private nonisolated(nonsending) func writeAsNumbered(_ rows: [RecordRow]) async -> Result<Outcomes, Failure> {
    // Rows of two tenants under one number would pass for repeats of each other.
    let tenants = rows.tenants
    guard Set(tenants.map(\.key)).count == tenants.count else { return .failure(.tenantNumberRefused) }
    do throws(RPCError) {
      try await catalog.ensurePartitions(for: rows.map(\.id.time))
    } catch {
      return .failure(.other(error))
    }
    // The first of each key is written, in key order, so that two writers cannot deadlock; its
    // repeats in the batch are answered from it.
    let order = rows.indices.sorted { (rows[$0].key, $0) < (rows[$1].key, $1) }
    var unique: [RecordRow] = []
    /// Of each row: its place in `unique`, and the first row of its key.
    var places = [(unique: Int, first: Int)](repeating: (0, 0), count: rows.count)
    var first = 0
    for index in order {
      if unique.last?.key != rows[index].key {
        first = index
        unique.append(rows[index])
      }
      places[index] = (unique.count - 1, first)
    }

    switch await writeUnique(unique) {
    case .failure(let error): return .failure(error)
    case .success(let written):
      var results: [Result<Recorded, RPCError>?] = rows.indices.map { index in
        let place = places[index]
        return outcome(
          of: rows[index], written[place.unique], original: place.first == index ? nil : rows[place.first])
      }
      // Repeats of a row that was refused are on their own: they may yet go in.
      let open = results.indices.filter { results[$0] == nil }
      if !open.isEmpty {
        switch await writeAsNumbered(open.map { rows[$0] }) {
        case .failure(let error): return .failure(error)
        case .success(let outcomes): for (index, outcome) in zip(open, outcomes) { results[index] = outcome }
        }
      }
      return .success(results.map { $0! })
    }
  }

  /// - Parameter original: the row of the batch whose key this one repeats, if it does.
  /// - Returns: nil where the original was refused, which says nothing of this row.
  private func outcome(
    of row: RecordRow, _ written: WrittenRow, original: RecordRow?
  ) -> Result<Recorded, RPCError>? {
    let there: Parameters
    switch written {
    case .inserted:
      guard let original else { return .success(Recorded(id: row.id, alreadyRecorded: false)) }
      there = original.values
    case .found(let values): there = values
    case .refused(let error): return original == nil ? .failure(error) : nil
    }
    return there == row.values
      ? .success(Recorded(id: row.id, alreadyRecorded: true)) : .failure(conflict(row))
  }

  /// From so many rows on, COPY's three messages to and fro cost less than an INSERT's parsing for each row.
  private static let copyRowsMin = 24

  private nonisolated(nonsending) func writeUnique(_ rows: [RecordRow]) async -> Result<[WrittenRow], Failure> {
    var lastError: PostgresError?
    var areAllNew = true
    // Enough for a deadlock, or for a PostgreSQL that restarts its backends after a crash.
    for attempt in 0..<6 {
      if let lastError {
        logger.warning(
          "writing a batch again", metadata: ["rows": "\(rows.count)", "reason": "\(lastError.message)"])
        try? await Task.sleep(for: .milliseconds(50 << attempt))
      }
      let isHopeful = areAllNew
      let result = await connection.run { (connection) throws(PostgresError) in
        guard isHopeful else { return try connection.recordMissing(rows) }
        if rows.count >= Self.copyRowsMin { try connection.copy(rows) } else { try connection.insert(rows) }
        return rows.map { _ in WrittenRow.inserted }
      }
      switch result {
      case .success(let outcomes): return .success(outcomes)
      case .failure(let error):
        if error.isPartitionMissing, attempt == 0 {
          catalog.forgetPartitions(for: rows.map(\.id.time))
          do throws(RPCError) {
            try await catalog.ensurePartitions(for: rows.map(\.id.time))
          } catch {
            return .failure(.other(error))
          }
          continue
        }
        if error.isTenantNumberRefused { return .failure(.tenantNumberRefused) }
        if error.blamesTheRow, isHopeful {
          // A taken key, most likely.
          areAllNew = false
          continue
        }
        if error.blamesTheRow { return await writeOneByOne(rows) }
        lastError = error
        guard error.isConnectionLost || error.isTransient else { return .failure(.other(error.rpcError)) }
      }
    }
    return .failure(.other(lastError!.rpcError))
  }

  private nonisolated(nonsending) func writeOneByOne(_ rows: [RecordRow]) async -> Result<[WrittenRow], Failure> {
    var outcomes: [WrittenRow] = []
    for row in rows {
      let result = await connection.run { (connection) throws(PostgresError) in
        try connection.recordMissing([row])
      }
      switch result {
      case .success(let one): outcomes += one
      case .failure(let error) where error.blamesTheRow:
        outcomes.append(
          .refused(
            RPCError(
              .invalidArgument, .interactionRefused,
              "the database refuses interaction \(row.id); the server's log says why",
              cause: error.message)))
      case .failure(let error) where error.isTenantNumberRefused: return .failure(.tenantNumberRefused)
      case .failure(let error): outcomes.append(.refused(error.rpcError))
      }
    }
    return .success(outcomes)
  }
}

/// What became of a row with a key of its own.
private enum WrittenRow: Sendable {
  case inserted
  /// Its key was taken, by this.
  case found(Parameters)
  case refused(RPCError)
}

extension PostgresConnection {
  /// Copies the rows, all of them new, and their deltas, in one transaction.
  fileprivate func copy(_ rows: [RecordRow]) throws(PostgresError) {
    var interactions = CopyRows(copyInteractions)
    var updatedAt = Parameters()
    updatedAt.add(.now)
    for row in rows {
      interactions.append(row.values, then: updatedAt)
    }
    var deltas = CopyRows(copyDeltas)
    for (tenant, facts) in facts(of: rows) {
      var values = Parameters()
      values.add(tenant.rawValue)
      values.add(facts.bytes)
      deltas.append(values)
    }
    try copy([interactions, deltas], after: beginRecordingText(rows.tenants))
  }

  /// Inserts the rows, all of them new, and their deltas, in one transaction.
  fileprivate func insert(_ rows: [RecordRow]) throws(PostgresError) {
    _ = try pipeline(
      [Command(.begin), .beginRecording(rows.tenants)] + inserts(of: rows) + deltas(of: rows) + [Command(.commit)])
  }

  private func inserts(of rows: [RecordRow]) -> [Command] {
    var commands: [Command] = []
    var remaining = rows[...]
    for (count, statement) in Statement.insertInteractions {
      while remaining.count >= count {
        commands.append(
          Command(statement) { parameters in for row in remaining.prefix(count) { parameters.append(row.values) } })
        remaining = remaining.dropFirst(count)
      }
    }
    return commands + remaining.map { Command(.insertInteraction, $0.values) }
  }

  private func deltas(of rows: [RecordRow]) -> [Command] {
    facts(of: rows).map { tenant, facts in
      Command(.addDelta) {
        $0.add(tenant.rawValue)
        $0.add(facts.bytes)
        $0.addNull()
        $0.addNull()
      }
    }
  }

  private func facts(of rows: [RecordRow]) -> [TenantKey: FactsWriter] {
    rows.reduce(into: [:]) { $0[$1.tenant, default: FactsWriter()].append($1.fact) }
  }

  /// Inserts the rows whose keys are free in one transaction and looks at what holds the others.
  fileprivate func recordMissing(_ rows: [RecordRow]) throws(PostgresError) -> [WrittenRow] {
    let inserts = rows.map { Command(.insertMissingInteraction, $0.values) }
    let begin = [Command(.begin), .beginRecording(rows.tenants)]
    let inserted = try pipeline(begin + inserts).dropFirst(begin.count).map { $0.affectedCount == 1 }
    let missing = zip(rows, inserted).filter { $0.1 }.map(\.0)
    let taken = zip(rows, inserted).filter { !$0.1 }.map(\.0)
    let looks = taken.map { row in
      Command(.getInteractions) {
        $0.add(row.tenant.rawValue)
        $0.add([row.id])
      }
    }
    var found = try pipeline(looks + deltas(of: missing) + [Command(.commit)]).makeIterator()
    var written: [WrittenRow] = []
    for (row, inserted) in zip(rows, inserted) {
      if inserted {
        written.append(.inserted)
      } else if let existing = found.next()!.first(where: { _ in true }) {
        written.append(.found(Parameters(try Interaction(existing), tenant: row.tenant)))
      } else {
        throw PostgresError(kind: .unexpectedAnswer, message: "a key is taken by a row that is not there")
      }
    }
    return written
  }
}

private func conflict(_ row: RecordRow) -> RPCError {
  RPCError(
    .alreadyExists, .interactionConflict,
    "interaction \(row.id) is recorded with other content; nothing was changed: give the new one its own id"
  )
}
