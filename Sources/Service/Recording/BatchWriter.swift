import Core
import Crypto
import Logging
import Postgres

/// Commits a batch of rows in one transaction and says of each what became of it.
///
/// The rows are inserted together with their change records, by COPY if there are many. The first try assumes that all keys
/// are new. If a key is taken, nothing was written: one statement then finds the taken keys, and the other rows are inserted
/// as before. Taken keys are remembered. When they come again they are looked up first, so that a client which repeats one id
/// does not make the batches of others fail.
///
/// If the database refuses a row, that row fails alone: the batch is halved until the row is found. If the connection is lost
/// in COMMIT, nobody knows whether it happened: the batch is written again, and the ids show what is there.
///
/// A batch waits a bounded time for what others have locked. Then it is halved as well, each part waits only briefly, and the
/// rows that still wait fail alone. `LockedRows` puts off what is locked.
///
/// The transaction checks the number that each tenant is taken to have. If the registry has another one, as after a failover,
/// nothing was written: the tenants are looked up again, and the batch is written again.
final class BatchWriter: Sendable {
  enum Outcome: Sendable {
    case told(Result<Recorded, RPCError>)
    case failed(WriteFailure)
  }

  private let connection: OwnerConnection
  private let partitions: PartitionManager
  private let numbers: TenantNumbers
  private let layout: RecordLayout
  private let takenKeys: TakenKeys
  private let lockedRows: LockedRows
  /// How long a batch waits for what others have locked.
  private let lockMax: Duration
  private let logger: Logger

  /// How long a part of one does that has waited before.
  private static let lockMaxOfPart = Duration.milliseconds(20)
  /// So often do the parts of one batch wait, and those of one tenant.
  private static let lockWaitsMax = (ofAll: 64, ofTenant: 12)

  /// - Parameters:
  ///   - takenKeys: what the writers of one store know together.
  ///   - lockedRows: so is this.
  init(
    _ connection: OwnerConnection, partitions: PartitionManager, numbers: TenantNumbers,
    layout: RecordLayout = .standard, takenKeys: TakenKeys = TakenKeys(), lockedRows: LockedRows = LockedRows(),
    lockMax: Duration = .milliseconds(Limits.recordLockMillisecondsMax), logger: Logger
  ) {
    self.connection = connection
    self.partitions = partitions
    self.numbers = numbers
    self.layout = layout
    self.takenKeys = takenKeys
    self.lockedRows = lockedRows
    self.lockMax = lockMax
    self.logger = logger
  }

  /// Runs `body` on the connection's thread.
  func run(_ body: @Sendable (isolated any Actor) async -> Void) async { await connection.stay(body) }

  nonisolated(nonsending) func isConnected() async -> Bool { await connection.isOpen() }

  /// - Returns: whether there is a connection now.
  nonisolated(nonsending) func connect() async -> Bool {
    let result = await connection.run { (connection) throws(PostgresError) in try connection.open() }
    if case .success = result { return true } else { return false }
  }

  /// - Returns: an outcome for each row, in order.
  nonisolated(nonsending) func write(_ rows: [RecordRow]) async -> [Outcome] {
    if let outcomes = await writeAsNumbered(rows) { return outcomes }
    switch await numberedAnew(rows) {
    case .failure(let error): return rows.map { _ in .failed(WriteFailure(error)) }
    case .success(let numbered):
      let changed = RPCError.databaseUnavailable(cause: "tenants' numbers changed twice while a batch was written")
      return await writeAsNumbered(numbered) ?? rows.map { _ in .failed(WriteFailure(changed)) }
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
    let added = await connection.runRepeatable { [lockMax] (connection) throws(PostgresError) in
      try connection.addTenants(names, lockMax: lockMax)
    }
    return added.map { keys in
      let found = Dictionary(uniqueKeysWithValues: zip(names, keys))
      for (name, key) in found { numbers.remember(key, for: name) }
      return rows.map { RecordRow($0, tenant: found[$0.tenantName]!) }
    }
  }

  /// - Returns: nil where the registry has another number for a tenant of the batch.
  private nonisolated(nonsending) func writeAsNumbered(_ rows: [RecordRow]) async -> [Outcome]? {
    // Rows of two tenants under one number would pass for repeats of each other.
    let tenants = rows.tenants
    guard Set(tenants.map(\.key)).count == tenants.count else { return nil }
    var outcomes: [Outcome?] = rows.map { _ in nil }
    let withoutPartition = await partitions.ensurePartitions(for: rows.map(\.id.time))
    if !withoutPartition.isEmpty {
      for index in rows.indices { outcomes[index] = withoutPartition[rows[index].id.time.day].map(Outcome.failed) }
    }
    // The first of each key is written, in key order, so that two writers cannot deadlock; its
    // repeats in the batch are answered from it.
    var order = rows.indices.filter { outcomes[$0] == nil }.sorted { (rows[$0].key, $0) < (rows[$1].key, $1) }
    /// The places in `order` of each key's rows that have no outcome yet.
    var open: [Range<Int>] = []
    for place in order.indices {
      if let last = open.last, rows[order[last.lowerBound]].key == rows[order[place]].key {
        open[open.count - 1] = last.lowerBound..<place + 1
      } else {
        open.append(place..<place + 1)
      }
    }

    while !open.isEmpty {
      guard let written = await writeUnique(open.map { rows[order[$0.lowerBound]] }) else { return nil }
      var stillOpen: [Range<Int>] = []
      for (places, written) in zip(open, written) {
        for place in places {
          let (index, first) = (order[place], order[places.lowerBound])
          outcomes[index] = outcome(of: rows[index], written, original: index == first ? nil : rows[first])
        }
        // Repeats with other content than a row that was refused are on their own: they may yet go in.
        let rest = order[places].filter { outcomes[$0] == nil }
        guard !rest.isEmpty else { continue }
        order.replaceSubrange(places.prefix(rest.count), with: rest)
        stillOpen.append(places.prefix(rest.count))
      }
      open = stillOpen
    }
    return outcomes.map { $0! }
  }

  /// - Parameter original: the row of the batch whose key this one repeats, if it does.
  /// - Returns: nil where the original was refused for another content, which says nothing of this row.
  private func outcome(
    of row: RecordRow, _ written: WrittenRow, original: RecordRow?
  ) -> Outcome? {
    let isSame: Bool
    switch written {
    case .inserted:
      guard let original else { return .told(.success(Recorded(id: row.id, alreadyRecorded: false))) }
      isSame = original.encoded.compared == row.encoded.compared
    case .found(let content): isSame = content == ContentHash(row.encoded)
    case .refused(let error):
      return original == nil || original!.encoded.compared == row.encoded.compared ? .told(.failure(error)) : nil
    case .failed(let failure): return .failed(failure)
    }
    return .told(isSame ? .success(Recorded(id: row.id, alreadyRecorded: true)) : .failure(conflict(row)))
  }

  /// Rows that are still to be written, each with a key of its own and its place in the batch.
  private struct Piece {
    var rows: [RecordRow]
    var places: [Int]
    /// How long it waits for what others have locked.
    var lockMax: Duration
    /// Which keys are taken is asked first, of all of them.
    var asksFirst = false
    /// However many they are.
    var isInserted = false
    /// How often a key was taken that had been free a moment before.
    var racesLost = 0
    /// They were found missing, and made.
    var hasMadePartitions = false

    /// Those of one tenant stand together.
    var isOfOneTenant: Bool { rows.first?.tenant == rows.last?.tenant }

    func part(_ range: Range<Int>) -> Piece {
      var part = self
      (part.rows, part.places) = (Array(rows[range]), Array(places[range]))
      return part
    }
  }

  /// - Returns: nil where the registry has another number for one of the tenants.
  private nonisolated(nonsending) func writeUnique(_ rows: [RecordRow]) async -> [WrittenRow]? {
    let admission = lockedRows.admit(rows)
    var waited: Set<RecordRow.Key> = []
    let written = await write(rows, admission, &waited)
    lockedRows.ended(admission, waited: written == nil ? nil : waited)
    if !waited.isEmpty {
      logger.warning(
        "rows wait for what others have locked and are put off",
        metadata: ["rows": "\(waited.count)", "tenant_keys": "\(Set(waited.map(\.tenant)).sorted().prefix(8))"])
    }
    return written
  }

  /// - Parameter waited: the keys of the rows that waited in vain for what others have locked.
  private nonisolated(nonsending) func write(
    _ rows: [RecordRow], _ admission: LockedRows.Admission?, _ waited: inout Set<RecordRow.Key>
  ) async -> [WrittenRow]? {
    var written: [WrittenRow?] = rows.map { _ in nil }
    for place in admission?.putOff ?? [] {
      written[place] = .failed(WriteFailure(putOff: "what the row waits for"))
    }
    var pieces = pieces(of: rows, admission)
    var (failures, damages) = (0, 0)
    var lockWaits = (ofAll: 0, ofTenant: [TenantKey: Int]())
    while var piece = pieces.popLast() {
      let suspects = piece.asksFirst ? piece.rows : takenKeys.suspects(among: piece.rows)
      let result = await connection.run { [piece, layout] (connection) throws(PostgresError) in
        try RecordTransaction(on: connection, layout, lockMax: piece.lockMax)
          .record(piece.rows, askingFor: suspects, isInserted: piece.isInserted)
      }
      switch result {
      case .success(let outcomes):
        failures = 0
        if !suspects.isEmpty { takenKeys.learn(piece.rows, outcomes) }
        for (place, outcome) in zip(piece.places, outcomes) { written[place] = outcome }
      case .failure(let error) where error.isTenantNumberRefused: return nil
      // INSERT tells why.
      case .failure(let error) where error.isStateLost && !piece.isInserted:
        (piece.isInserted, piece.asksFirst) = (true, true)
        pieces.append(piece)
      case .failure(let error) where (error.isPartitionMissing || error.mayMissPartition) && !piece.hasMadePartitions:
        let times = piece.rows.map(\.id.time)
        partitions.forgetPartitions(for: times)
        let failed = await partitions.ensurePartitions(for: times)
        piece.hasMadePartitions = true
        for (place, time) in zip(piece.places, times) { written[place] = failed[time.day].map(WrittenRow.failed) }
        let rest = piece.rows.indices.filter { written[piece.places[$0]] == nil }
        (piece.rows, piece.places) = (rest.map { piece.rows[$0] }, rest.map { piece.places[$0] })
        if !rest.isEmpty { pieces.append(piece) }
      case .failure(let error)
      where error.isKeyTaken && (!piece.asksFirst || piece.rows.count == 1 && piece.racesLost < 3):
        if piece.asksFirst { piece.racesLost += 1 }
        piece.asksFirst = true
        pieces.append(piece)
      case .failure(let error) where error.blamesTheRow:
        if piece.rows.count == 1 {
          written[piece.places[0]] = .refused(refusal(of: piece.rows[0], error))
        } else {
          pieces += halves(of: piece)
        }
      case .failure(let error) where error.isLockTimeout:
        lockWaits.ofAll += 1
        if piece.isOfOneTenant { lockWaits.ofTenant[piece.rows[0].tenant, default: 0] += 1 }
        // Where all of it is locked, it is not tried for each row.
        if piece.rows.count == 1 || lockWaits.ofAll >= Self.lockWaitsMax.ofAll
          || piece.isOfOneTenant && lockWaits.ofTenant[piece.rows[0].tenant]! >= Self.lockWaitsMax.ofTenant
        {
          for place in piece.places { written[place] = .failed(WriteFailure(error)) }
          waited.formUnion(piece.rows.map(\.key))
        } else {
          piece.lockMax = min(piece.lockMax, Self.lockMaxOfPart)
          pieces += halves(of: piece, betweenTenants: true)
        }
      // Where all is damaged, it is not tried for each row.
      case .failure(let error) where error.mayBeOfOneRow && damages < 64:
        damages += 1
        if piece.rows.count == 1 {
          written[piece.places[0]] = .failed(WriteFailure(error))
        } else {
          pieces += halves(of: piece)
        }
      case .failure(let error):
        failures += 1
        // Enough for a deadlock, or for a PostgreSQL that restarts its backends after a crash.
        guard error.isConnectionLost || error.isTransient ? failures < 6 : error.isReadOnly && failures < 2 else {
          return written.map { $0 ?? .failed(WriteFailure(error)) }
        }
        logger.warning(
          "a batch failed and is tried again", metadata: ["rows": "\(piece.rows.count)", "reason": "\(error.message)"])
        try? await Task.sleep(for: .milliseconds(50 << failures))
        // It may have been committed.
        piece.asksFirst = piece.asksFirst || error.isConnectionLost
        pieces.append(piece)
      }
    }
    return written.map { $0! }
  }

  /// All of them; where something is locked, each tenant of it has a piece of its own behind the others.
  private func pieces(of rows: [RecordRow], _ admission: LockedRows.Admission?) -> [Piece] {
    let whole = Piece(rows: rows, places: Array(rows.indices), lockMax: lockMax)
    guard let admission else { return [whole] }
    var (others, apart): ([Int], [TenantKey: [Int]]) = ([], [:])
    for (place, row) in rows.enumerated() where !admission.putOff.contains(place) {
      if admission.tenants.contains(row.key.tenant) {
        apart[row.tenant, default: []].append(place)
      } else {
        others.append(place)
      }
    }
    let patience = min(lockMax, Self.lockMaxOfPart)
    return apart.values.map { places in Piece(rows: places.map { rows[$0] }, places: places, lockMax: patience) }
      + (others.isEmpty ? [] : [Piece(rows: others.map { rows[$0] }, places: others, lockMax: lockMax)])
  }

  /// The second before the first, which is taken up next.
  ///
  /// - Parameter betweenTenants: where they are of several tenants, none is cut in two.
  private func halves(of piece: Piece, betweenTenants: Bool = false) -> [Piece] {
    var middle = piece.rows.count / 2
    if betweenTenants, !piece.isOfOneTenant {
      let borders = (1..<piece.rows.count).filter { piece.rows[$0 - 1].tenant != piece.rows[$0].tenant }
      middle = borders.min { abs($0 - middle) < abs($1 - middle) } ?? middle
    }
    return [piece.part(middle..<piece.rows.count), piece.part(0..<middle)]
  }

  private func refusal(of row: RecordRow, _ error: PostgresError) -> RPCError {
    RPCError(
      .invalidArgument, .interactionRefused,
      "the database refuses interaction \(row.id); the server's log says why", cause: error.message)
  }
}

private func conflict(_ row: RecordRow) -> RPCError {
  RPCError(
    .alreadyExists, .interactionConflict,
    "interaction \(row.id) is recorded with other content; nothing was changed: give the new one its own id"
  )
}
