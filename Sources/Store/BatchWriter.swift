import Domain
import Logging

/// One interaction on its way into its row.
struct RecordRow: Sendable {
  var tenant: TenantKey
  var interaction: Interaction

  struct Key: Hashable, Comparable {
    var tenant: Int32
    var id: InteractionID

    static func < (a: Key, b: Key) -> Bool { (a.tenant, a.id) < (b.tenant, b.id) }
  }

  var key: Key { Key(tenant: tenant.rawValue, id: interaction.id) }
}

/// Commits a batch of rows in one transaction and says of each what became of it.
///
/// A row whose key is taken is compared with what is there. A row the database refuses fails alone:
/// the batch is then done again row by row. A connection lost in COMMIT leaves open whether it
/// happened; the batch is done again too, and finds by the ids what is there.
final class BatchWriter: Sendable {
  typealias Outcomes = [Result<Recorded, RPCError>]

  private let connection: PostgresConnection
  private let catalog: Catalog
  private let logger: Logger

  init(_ connection: PostgresConnection, catalog: Catalog, logger: Logger) {
    self.connection = connection
    self.catalog = catalog
    self.logger = logger
  }

  /// - Returns: an outcome for each row, in order; or the error that all of them share.
  func write(_ rows: [RecordRow]) async -> Result<Outcomes, RPCError> {
    do throws(RPCError) {
      try await catalog.ensurePartitions(for: rows.map(\.interaction.createdAt))
    } catch {
      return .failure(error)
    }
    // The first of each key is written, in key order, so that two writers cannot deadlock; its
    // repeats in the batch are answered from it.
    var first: [RecordRow.Key: Int] = [:]
    for (index, row) in rows.enumerated() where first[row.key] == nil { first[row.key] = index }
    let unique = first.sorted { $0.key < $1.key }.map { rows[$0.value] }

    switch await writeUnique(unique) {
    case .failure(let error): return .failure(error)
    case .success(let written):
      let byKey = Dictionary(uniqueKeysWithValues: zip(unique.map(\.key), written))
      var results: [Result<Recorded, RPCError>?] = rows.enumerated().map { index, row in
        outcome(of: row, byKey[row.key]!, original: first[row.key] == index ? nil : rows[first[row.key]!])
      }
      // Repeats of a row that was refused are on their own: they may yet go in.
      let open = results.indices.filter { results[$0] == nil }
      if !open.isEmpty {
        switch await write(open.map { rows[$0] }) {
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
    let there: InteractionContent
    switch written {
    case .inserted:
      guard let original else { return .success(Recorded(id: row.interaction.id, alreadyRecorded: false)) }
      there = original.interaction.content
    case .found(let content): there = content
    case .refused(let error): return original == nil ? .failure(error) : nil
    }
    return there == row.interaction.content
      ? .success(Recorded(id: row.interaction.id, alreadyRecorded: true)) : .failure(conflict(row))
  }

  private func writeUnique(_ rows: [RecordRow]) async -> Result<[WrittenRow], RPCError> {
    var lastError: PostgresError?
    // Enough for a deadlock, or for a PostgreSQL that restarts its backends after a crash.
    for attempt in 0..<6 {
      if attempt > 0 { try? await Task.sleep(for: .milliseconds(50 << attempt)) }
      let result = await connection.run { (connection) throws(PostgresError) in
        try connection.record(rows)
      }
      switch result {
      case .success(let outcomes): return .success(outcomes)
      case .failure(let error):
        if error.blamesTheRow { return await writeOneByOne(rows) }
        lastError = error
        guard error.isConnectionLost || error.isTransient else { break }
        logger.warning(
          "writing a batch again", metadata: ["rows": "\(rows.count)", "reason": "\(error.message)"])
        continue
      }
      break
    }
    return .failure(lastError!.rpcError)
  }

  private func writeOneByOne(_ rows: [RecordRow]) async -> Result<[WrittenRow], RPCError> {
    var outcomes: [WrittenRow] = []
    for row in rows {
      let result = await connection.run { (connection) throws(PostgresError) in
        try connection.record([row])
      }
      switch result {
      case .success(let one): outcomes += one
      case .failure(let error) where error.blamesTheRow:
        outcomes.append(
          .refused(
            RPCError(
              .invalidArgument, .interactionRefused,
              "the database refuses interaction \(row.interaction.id); the server's log says why",
              cause: error.message)))
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
  case found(InteractionContent)
  case refused(RPCError)
}

extension PostgresConnection {
  /// Inserts the rows in one transaction and looks at what holds the keys that were taken.
  fileprivate func record(_ rows: [RecordRow]) throws(PostgresError) -> [WrittenRow] {
    var commands = [Command(.begin)]
    for row in rows {
      commands.append(Command(.insertInteraction) { $0.add(row.interaction, tenant: row.tenant) })
    }
    commands.append(Command(.commit))
    let inserted = try pipeline(commands).dropFirst().dropLast().map { $0.affectedCount == 1 }

    let taken = zip(rows, inserted).filter { !$0.1 }.map(\.0)
    guard !taken.isEmpty else { return rows.map { _ in .inserted } }
    var found = try pipeline(
      taken.map { row in
        Command(.getInteraction) {
          $0.add(row.tenant.rawValue)
          $0.add(row.interaction.id)
        }
      }
    ).makeIterator()
    var written: [WrittenRow] = []
    for inserted in inserted {
      if inserted {
        written.append(.inserted)
      } else if let existing = found.next()!.first(where: { _ in true }) {
        written.append(.found(try Interaction(existing).content))
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
    "interaction \(row.interaction.id) is recorded with other content; nothing was changed: give the new one its own id"
  )
}
