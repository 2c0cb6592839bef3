import Core
import Foundation
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Service

extension Tenant {
  static let a = Tenant("tenant-a")!
  static let b = Tenant("tenant-b")!
}

extension Timestamp {
  /// From "2020-01-01T00:00:00.000Z".
  init(_ text: String) {
    let date = try! Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    self.init(milliseconds: Int64((date.timeIntervalSince1970 * 1000).rounded()))
  }
}

extension Interaction {
  /// One that meets every rule, as the gate would hand it on.
  static func sample(
    at time: Timestamp = .now, _ change: (inout InteractionContent) -> Void = { _ in }
  ) -> Interaction {
    var draft = InteractionDraft.sample(at: time)
    change(&draft.content)
    return try! RecordInteraction(interaction: draft).checked(tenant: .a, now: .now)
  }

  func with(_ change: (inout InteractionContent) -> Void) -> Interaction {
    var interaction = self
    change(&interaction.content)
    return interaction
  }
}

extension InteractionContent {
  /// Equal byte for byte. `==` alone takes texts for equal that only look alike ("é" in its two forms).
  func isExactly(_ other: InteractionContent) -> Bool {
    func texts(_ content: InteractionContent) -> [String] {
      [
        content.conversationID, content.customerMessage, content.agentResponse, content.modelUsed,
        content.handoffReason, content.messageType,
      ] + content.detectedIntents.map(\.name)
    }
    return self == other && zip(texts(self), texts(other)).allSatisfy { $0.utf8.elementsEqual($1.utf8) }
  }
}

// As production has them.

extension MeasurePlan {
  static var standard: MeasurePlan { RecordLayout.standard.plan }
}

extension ChangeEntry {
  init(_ interaction: Interaction) { self.init(interaction, .standard) }
}

extension ChangeRecordWriter {
  init() { self.init(.standard) }
}

extension ChangeRecordReader {
  static func entries(_ bytes: UnsafeRawBufferPointer) throws(Unreadable) -> [ChangeEntry] {
    try entries(bytes, .standard)
  }
}

extension Sums {
  init() { self.init(.standard) }
  init(_ bytes: UnsafeRawBufferPointer) throws(Unreadable) { try self.init(bytes, .standard) }
}

extension Rollups {
  init() { self.init(.standard) }
}

extension RecordRow {
  convenience init(_ interaction: Interaction, tenant: NumberedTenant) {
    self.init(interaction, tenant: tenant, .standard)
  }
}

extension ConnectionBudget {
  /// Reads go one after the other.
  static let oneReader = ConnectionBudget(writers: 2, readers: 1)
}

typealias Outcome = Result<Recorded, RPCError>

extension Outcome {
  static func new(_ interaction: Interaction) -> Outcome {
    .success(Recorded(id: interaction.id, alreadyRecorded: false))
  }

  static func already(_ interaction: Interaction) -> Outcome {
    .success(Recorded(id: interaction.id, alreadyRecorded: true))
  }

  /// The error's reason, or nil for a success.
  var reason: RPCError.Reason? { error?.reason }
}

extension PostgresStore {
  func record(_ interaction: Interaction, for tenant: Tenant = .a) async throws(RPCError) -> Outcome {
    try await record([interaction], for: tenant)[0]
  }

  /// All pages of a list, walked as a caller walks them.
  func pages(
    _ filter: InteractionFilter = .init(), size: Int32 = 200, view: InteractionView = .full, of tenant: Tenant = .a
  ) async throws -> [[Interaction]] {
    var query = try ListInteractions(filter: filter, pageSize: size, view: view).checked(tenant: tenant, now: .now)
    var pages: [[Interaction]] = []
    while true {
      let (interactions, more) = try await page(query, of: tenant)
      pages.append(interactions)
      guard more else { return pages }
      query.after = try #require(interactions.last, "an empty page says that more follow").id
    }
  }

  func stats(
    _ filter: InteractionFilter = .init(), interval: StatsInterval? = nil, of tenant: Tenant = .a
  ) async throws -> StatsReport {
    try await stats(GetStats(filter: filter, interval: interval).checked(tenant: tenant, now: .now), of: tenant)
  }
}

extension TestDatabase {
  /// Has an hour of tenant a rebuilt that the test has changed by SQL, where nothing else tells of that: a distributed
  /// table has no triggers.
  func noteChanges(at time: Timestamp) throws {
    guard TestDatabase.isDistributed else { return }
    let (tenant, hour) = (try key(of: .a).rawValue, InteractionID(at: time).hour)
    try sql("INSERT INTO parley.deltas (tenant, recount_from, recount_to) VALUES (\(tenant), \(hour), \(hour + 1))")
  }

  /// The settings of a store that no lock hurries.
  func patient(_ connections: ConnectionBudget = .standard) -> PostgresStore.Configuration {
    var configuration = PostgresStore.Configuration(
      url: url, connections: connections, statementTimeout: .seconds(600))
    configuration.waitForLocks()
    configuration.keyedReadMax = .seconds(600)
    return configuration
  }

  /// Runs `body` with a store of other settings, or by another way to the database.
  func withStore<R>(
    _ configuration: PostgresStore.Configuration, _ body: (PostgresStore) async throws -> R
  ) async throws -> R {
    let store = PostgresStore(configuration, logger: .silent)
    let running = Task { await store.run() }
    do {
      let result = try await body(store)
      store.close()
      await running.value
      return result
    } catch {
      store.close()
      await running.value
      throw error
    }
  }

  /// Gives the tenants a and b the numbers 1 and 2, as earlier versions did.
  func registerTenants() throws {
    try sql("INSERT INTO parley.tenants (name) VALUES ('\(Tenant.a)'), ('\(Tenant.b)')")
  }

  func numbered(_ tenant: Tenant) throws -> NumberedTenant {
    NumberedTenant(key: try key(of: tenant), name: tenant)
  }

  func owner(statementTimeout: Duration = .seconds(30)) -> OwnerConnection {
    OwnerConnection(ConnectionConfiguration(url: url, statementTimeout: statementTimeout), logger: .silent)
  }

  func reader() -> ReaderConnection { ReaderConnection(ConnectionConfiguration(url: url), logger: .silent) }

  func key(of tenant: Tenant) throws -> TenantKey {
    TenantKey(rawValue: Int32(try sql("SELECT key FROM parley.tenants WHERE name = '\(tenant)'")[0][0])!)
  }

  /// Whether rollups and postings alone hold what is known: nothing is left to merge or to rebuild.
  func isMerged() throws -> Bool {
    try sql("SELECT count(*) FROM parley.deltas")[0][0] == "0"
  }

  func rowCount(_ condition: String = "true") throws -> Int {
    Int(try sql("SELECT count(*) FROM parley.interactions WHERE \(condition)")[0][0])!
  }

  /// Records something, and waits until the store has made its partitions: a lock taken afterwards
  /// meets only what the test itself sends.
  func warmUp(_ store: PostgresStore) async throws {
    _ = try await store.record(.sample(), for: .a).get()
    try await eventually("the partitions made ahead are there") {
      try sql(
        """
        SELECT to_regclass('parley.interactions_' || to_char(now() AT TIME ZONE 'UTC' + interval '62 days', 'YYYY_MM'))
        """)[0][0] != ""
    }
  }
}

extension DatabaseSession {
  enum Lock: String {
    /// Writers wait, readers go on.
    case writers = "SHARE"
    case everybody = "ACCESS EXCLUSIVE"
  }

  func lockInteractions(against whom: Lock) throws {
    try sql("BEGIN; LOCK TABLE parley.interactions IN \(whom.rawValue) MODE")
  }

  func unlock() throws {
    try sql("COMMIT")
  }

  /// The processes of Parley's connections of that role, in that state.
  func backends(_ role: Session.Role, _ condition: String = "true") throws -> [String] {
    // A transaction sees them as they were at its first look, but for the clearing.
    try sql(
      """
      SELECT pg_stat_clear_snapshot();
      SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'parley \(role.rawValue)' AND \(condition)
      """
    ).map { $0[0] }
  }

  func waitsForLock(_ role: Session.Role) throws -> Bool {
    try !backends(role, "wait_event_type = 'Lock'").isEmpty
  }

  /// Has every writer of the store wait in the database, each with a record of its own, until `unlock()`.
  func holdUpWriters(of store: PostgresStore) async throws -> [Calls<Outcome>] {
    try lockInteractions(against: .writers)
    var records: [Calls<Outcome>] = []
    for count in 1...ConnectionBudget.standard.writers {
      records.append(Calls(1) { _ throws(RPCError) in try await store.record(.sample()) })
      try await eventually("\(count) writers wait") {
        try backends(.owner, "wait_event_type = 'Lock'").count == count
      }
    }
    return records
  }

  /// Ends every connection of Parley's to this database.
  func terminateParley() throws {
    try sql(
      """
      SELECT pg_stat_clear_snapshot();
      SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name LIKE 'parley %'
      """)
  }
}

/// It did not come to pass in good time.
struct Overdue: Error, CustomStringConvertible {
  var description: String
}

/// Polls until `condition` holds, within a bound that only a broken test reaches.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
  for _ in 0..<12_000 {
    if try await condition() { return }
    try await Task.sleep(for: .milliseconds(10))
  }
  throw Overdue(description: "not in time: \(what)")
}

/// Calls made at once, and the responses that have come so far.
final class Calls<Answer: Sendable>: Sendable {
  private final class Answers: Sendable {
    let byCall = Mutex<[Int: Result<Answer, RPCError>]>([:])
  }

  private let received: Answers
  private let tasks: [Task<Void, Never>]

  init(_ count: Int, _ call: @escaping @Sendable (Int) async throws(RPCError) -> Answer) {
    let received = Answers()
    self.received = received
    tasks = (0..<count).map { index in
      Task {
        let answer: Result<Answer, RPCError>
        do throws(RPCError) { answer = .success(try await call(index)) } catch { answer = .failure(error) }
        received.byCall.withLock { $0[index] = answer }
      }
    }
  }

  var answers: [Int: Result<Answer, RPCError>] { received.byCall.withLock { $0 } }

  var unanswered: [Int] {
    let answers = answers
    return tasks.indices.filter { answers[$0] == nil }
  }

  func cancel(_ index: Int) { tasks[index].cancel() }

  /// Every response, once all have come.
  func all() async -> [Result<Answer, RPCError>] {
    for task in tasks { await task.value }
    let answers = answers
    return tasks.indices.map { answers[$0]! }
  }
}
