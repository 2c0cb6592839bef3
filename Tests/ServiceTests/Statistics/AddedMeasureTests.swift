import Core
import Synchronization
import TestSupport
import Testing

@testable import Service

/// One stored field and three measures more, by nothing but their declarations and a migration: they are recorded, read,
/// compared, counted, merged, rebuilt and verified like all others.
@Suite(.timeLimit(.minutes(5))) struct AddedMeasureTests {
  @Test(arguments: [1, 5, 60]) func theFieldIsRecordedAndReadBack(count: Int) async throws {
    let given = (0..<count).map { Interaction.calling(tools: [nil, 0, 3, 7][$0 % 4]) }
    try await withAddedField { database in
      try await database.withStore(.added(written: 1)) { store in
        #expect(try await store.record(given, for: .a) == given.map(Outcome.new))
        for interaction in given {
          let calls = interaction.content.toolCalls
          interaction.content.toolCalls = -1
          let found = try #require(try await store.interaction(interaction.id, of: .a))
          #expect(found.content.toolCalls == calls)
          #expect(found.content.isExactly(interaction.content))
        }
        for view in [InteractionView.basic, .full] {
          let calls = given.map(\.content.toolCalls)
          for interaction in given { interaction.content.toolCalls = -1 }
          let listed = try await store.pages(view: view).joined()
          #expect(Set(listed.map(\.id)) == Set(given.map(\.id)))
          #expect(given.map(\.content.toolCalls) == calls)
        }
      }
    }
  }

  @Test func theFieldIsPartOfTheContent() async throws {
    try await withAddedField { database in
      try await database.withStore(.added(written: 1)) { store in
        for calls in [nil, 0, 3] as [Int32?] {
          let given = Interaction.calling(tools: calls)
          let outcomes = try await [store.record(given), store.record(given)]
          #expect(outcomes == [.new(given), .already(given)])
          for other in [nil, 0, 3] as [Int32?] where other != calls {
            given.content.toolCalls = other
            let outcome = try await store.record(given)
            #expect(outcome.reason == .interactionConflict)
          }
        }
      }
    }
  }

  @Test func theMeasuresAreCountedMergedRebuiltAndVerified() async throws {
    let calls = (0..<200).map { [nil, 0, 3, 7, 200][$0 % 5] as Int32? }
    let given = calls.map { Interaction.calling(tools: $0, at: .hour(5)) }
    try await withAddedField { database in
      try await database.withStore(.added(written: 1)) { store in
        let lease = try database.session()
        try lease.holdRollupLease()
        _ = try await store.record(given, for: .a).map { try $0.get() }
        #expect(try database.sql("SELECT DISTINCT get_byte(additions, 0) FROM parley.deltas") == [["1"]])
        expect(try await store.stats().totals, calls)
        expect(try await store.stats().byModel[0].stats, calls)

        try lease.unlock()
        try await eventually("all is merged") { try database.isMerged() }
        #expect(try database.sql("SELECT DISTINCT get_byte(sums, 0) FROM parley.rollups") == [["2"]])
        expect(try await store.stats(interval: .hour).series[0].stats, calls)
        try await database.expectNoDifferences(.added(written: 1))

        try database.sql("UPDATE parley.interactions SET tool_calls = 5 WHERE tool_calls IS NULL")
        try database.noteChanges(at: given[0].createdAt)
        expect(try await store.stats().totals, calls.map { $0 ?? 5 })
        try await eventually("all is rebuilt") { try database.isMerged() }
        expect(try await store.stats().totals, calls.map { $0 ?? 5 })
        try await database.expectNoDifferences(.added(written: 1))
      }
      // By the rows alone, too.
      try await database.withStore(.added(written: 1), exactStatsInteractionsMax: 2000) { store in
        let stats = try await store.stats().totals
        expect(stats, calls.map { $0 ?? 5 })
        #expect(Array(stats.percentiles[3...]) == [5, 200, 200])
      }
    }
  }

  /// An earlier version has merged an hour, and change records of it wait; this one goes on with both.
  @Test func whatAnEarlierVersionHasCountedIsGoneOnWith() async throws {
    let before = (0..<30).map { _ in Interaction.sample(at: .hour(5)) }
    let unmerged = [Interaction.sample(at: .hour(5)), .sample(at: .hour(4))]
    let calls = [1, 2, nil] as [Int32?]
    try await TestDatabase.with { database in
      try await database.withStore(.standard) { store in
        _ = try await store.record(before, for: .a).map { try $0.get() }
        try await eventually("all is merged") { try database.isMerged() }
      }
      try await database.addField()
      let lease = try database.session()
      try lease.holdRollupLease()
      // It may still run on the migrated schema.
      try await database.withStore(.standard) { store in
        _ = try await store.record(unmerged, for: .a).map { try $0.get() }
      }
      #expect(try database.sql("SELECT get_byte(additions, 0) FROM parley.deltas") == [["0"]])
      try await database.withStore(.added(written: 1)) { store in
        _ = try await store.record(calls.map { .calling(tools: $0, at: .hour(5)) }, for: .a).map { try $0.get() }
        expect(try await store.stats().totals, calls, others: before.count + unmerged.count)
        try lease.unlock()
        try await eventually("all is merged") { try database.isMerged() }
        expect(try await store.stats().totals, calls, others: before.count + unmerged.count)
      }
      try await database.expectNoDifferences(.added(written: 1))
    }
  }

  /// An earlier version leaves alone what it does not know, and the rows answer there.
  @Test func anEarlierVersionGoesOnBesideThisOne() async throws {
    let given = (0..<40).map { Interaction.calling(tools: Int32($0), at: .hour(5)) }
    let more = (0..<10).map { _ in Interaction.sample(at: .hour(5)) }
    try await withAddedField { database in
      try await database.withStore(.added(written: 1)) { store in
        _ = try await store.record(given, for: .a).map { try $0.get() }
        try await eventually("all is merged") { try database.isMerged() }
        try await database.withStore(.standard) { earlier in
          #expect(try await earlier.stats().totals.totalInteractions == 40)
          _ = try await earlier.record(more, for: .a).map { try $0.get() }
          #expect(try await earlier.stats().totals.totalInteractions == 50)
        }
        try await eventually("all is merged and rebuilt") { try database.isMerged() }
        expect(try await store.stats().totals, (0..<40).map(Int32.init), others: more.count)
      }
      try await database.expectNoDifferences(.added(written: 1))
    }
  }

  /// While an earlier version may run, this one writes what that can read, and loses nothing of what a later one wrote.
  @Test func whatIsWrittenIsOfTheGenerationThatEveryServerReads() throws {
    let (careful, later) = (RecordLayout.added(written: 0), RecordLayout.added(written: 1))
    let interaction = Interaction.calling(tools: 3)
    func bytes(_ layout: RecordLayout) -> (record: [UInt8], sums: [UInt8]) { stored(interaction, layout) }
    #expect(bytes(careful).record == bytes(.standard).record && bytes(careful).sums == bytes(.standard).sums)
    #expect(bytes(later).record[0] == 1 && bytes(later).sums[0] == 2)

    var sums = try bytes(later).sums.withUnsafeBytes { bytes throws(any Error) in try Sums(bytes, careful.plan) }
    #expect(sums.bytes == bytes(later).sums)
    let earlier = bytes(careful).sums
    try earlier.withUnsafeBytes { bytes throws(any Error) in try sums.merge(bytes) }
    #expect(sums.bytes[0] == 2 && sums.count == 2)
    let entries = try bytes(later).record.withUnsafeBytes { bytes throws(any Error) in
      try ChangeRecordReader.entries(bytes, careful.plan)
    }
    #expect(entries.map(\.inputs) == [MeasureInputs(interaction, careful.plan)])
    #expect(throws: Unreadable.newerFormat) {
      try bytes(later).sums.withUnsafeBytes { bytes throws(any Error) in _ = try Sums(bytes, .standard) }
    }
    #expect(throws: Unreadable.newerFormat) {
      try bytes(later).record.withUnsafeBytes { bytes throws(any Error) in
        _ = try ChangeRecordReader.entries(bytes, .standard)
      }
    }
  }

  /// A release that declares a measure goes on writing what servers of the release before can read.
  @Test func declaredMeasureIsNotWrittenUntilTheTablesNumberIsRaised() {
    let (interaction, written) = (Interaction.calling(tools: 3), Measures.standard.written)
    #expect(RecordLayout.standard.plan.written == written)
    let layout = RecordLayout.added(written: written)
    let newest = layout.plan.generations.count - 1
    #expect(newest > written)
    let (before, declared) = (stored(interaction, .standard), stored(interaction, layout))
    #expect(declared.record == before.record && declared.sums == before.sums)
    let raised = stored(interaction, .added(written: newest))
    #expect(raised.record[0] == UInt8(newest) && raised.sums[0] == UInt8(newest + 1))
  }

  /// A change record and a rollup of one interaction.
  private func stored(_ interaction: Interaction, _ layout: RecordLayout) -> (record: [UInt8], sums: [UInt8]) {
    var (writer, sums) = (ChangeRecordWriter(layout.plan), Sums(layout.plan))
    let entry = ChangeEntry(interaction, layout.plan)
    writer.append(entry)
    sums.add(entry)
    return (writer.bytes, sums.bytes)
  }

  @Test func damageInWhatWasAddedIsFound() throws {
    let layout = RecordLayout.added(written: 1)
    var random = SeededGenerator()
    var (refused, rounds) = (0, 2000)
    for _ in 0..<rounds {
      var sums = Sums(layout.plan)
      for calls in [nil, 0, 3] as [Int32?] { sums.add(ChangeEntry(.calling(tools: calls), layout.plan)) }
      let bytes = random.damage(sums.bytes)
      if bytes == sums.bytes { rounds -= 1 }
      do { _ = try bytes.withUnsafeBytes { bytes throws(any Error) in try Sums(bytes, layout.plan) } } catch {
        refused += 1
      }
    }
    #expect(refused > rounds * 3 / 4, "seed \(random.seed): most damage shows")
  }

  /// That many interactions with these numbers, and others without one.
  private func expect(
    _ stats: Stats, _ calls: [Int32?], others: Int = 0, _ location: SourceLocation = #_sourceLocation
  ) {
    let (known, measures) = (calls.compactMap { $0 }, Measures.withToolCalls(written: 1))
    func number(_ name: String) -> Int64 { stats.numbers[measures.place(of: name).lowerBound] }
    #expect(stats.totalInteractions == calls.count + others, sourceLocation: location)
    #expect(number("tool_calls") == known.reduce(0) { $0 + Int64($1) }, sourceLocation: location)
    #expect(number("tool_calls_count") == known.count, sourceLocation: location)
    // Nearest rank.
    let median = known.sorted()[(known.count + 1) / 2 - 1]
    #expect(isNear(stats.percentiles[3], Int64(median)), sourceLocation: location)
    let average = StatsField.fields(of: measures).first { $0.name == "avg_tool_calls" }!.get(stats)
    #expect(
      average == .real(Double(known.reduce(0, +)) / Double(known.count)), sourceLocation: location)
  }

  private func withAddedField(_ body: (TestDatabase) async throws -> Void) async throws {
    try await TestDatabase.with { database in
      try await database.addField()
      try await body(database)
    }
  }
}

// MARK: The declarations

extension RecordLayout {
  /// - Parameter written: the generation of stored formats.
  fileprivate static func added(written: Int) -> RecordLayout {
    RecordLayout(
      fields: InteractionContent.fields + [.optionalCount("tool_calls", \.toolCalls)],
      measures: .withToolCalls(written: written))
  }
}

extension Measures {
  fileprivate static func withToolCalls(written: Int) -> Measures {
    Measures(
      standard.all + [
        Measure(
          "tool_calls", .sum(of: "tool_calls"), shown: .mean("avg_tool_calls", of: "tool_calls_count"), since: 1),
        Measure("tool_calls_count", .known("tool_calls"), since: 1),
        Measure("tool_calls", .distribution(of: "tool_calls"), shown: .percentiles, since: 1),
      ], written: written)
  }
}

extension InteractionContent {
  /// How often the agent called a tool. An extension stores nothing, so the numbers stand beside, by conversation: what
  /// is read from a row takes the place of what was given.
  fileprivate var toolCalls: Int32? {
    get { ToolCalls.byConversation.withLock { $0[conversationID] } }
    nonmutating set { ToolCalls.byConversation.withLock { $0[conversationID] = newValue } }
  }

  private enum ToolCalls {
    static let byConversation = Mutex<[String: Int32]>([:])
  }
}

extension Interaction {
  /// In a conversation of its own.
  fileprivate static func calling(tools: Int32?, at time: Timestamp = .now) -> Interaction {
    let interaction = Interaction.sample(at: time) { $0.conversationID = "\(InteractionID(at: .now))" }
    interaction.content.toolCalls = tools
    return interaction
  }
}

extension Timestamp {
  /// So many hours ago, in the middle of an hour.
  fileprivate static func hour(_ hoursAgo: Int64) -> Timestamp {
    let hour = Timestamp.now.milliseconds / .millisecondsPerHour - hoursAgo
    return Timestamp(milliseconds: hour * .millisecondsPerHour + .millisecondsPerHour / 2)
  }
}

extension TestDatabase {
  fileprivate func addField() async throws {
    let step = Migration.Step.transaction("ALTER TABLE parley.interactions ADD COLUMN tool_calls int", locks: "")
    _ = try await migrator().migrate(Migration.all(and: "tool_calls", step))
  }

  fileprivate func withStore<R>(
    _ layout: RecordLayout, exactStatsInteractionsMax: Int = 0, _ body: (PostgresStore) async throws -> R
  ) async throws -> R {
    let store = PostgresStore(
      .init(url: url), exactStatsInteractionsMax: exactStatsInteractionsMax, layout: layout, logger: .silent)
    let running = Task { await store.run() }
    let result: Result<R, any Error>
    do { result = .success(try await body(store)) } catch { result = .failure(error) }
    store.close()
    await running.value
    return try result.get()
  }

  fileprivate func expectNoDifferences(_ layout: RecordLayout) async throws {
    var differences: [String] = []
    try await Verifier(url: url, layout: layout, logger: .silent).verify(nil, from: nil, to: nil) { day in
      differences += day.differences.map(\.what)
      #expect(day.waitingHours == 0)
    }
    #expect(differences == [])
  }
}
