import Core
import Postgres
import TestSupport
import Testing

@testable import Service

/// Reads go by the months of ids and pages: they touch the partitions of these months alone, however many there are, and
/// find what there is in whatever partition.
@Suite(.notDistributed(.coordinatorTables), .timeLimit(.minutes(5))) struct ManyPartitionsTests {
  /// Makes the partitions of as many months, as servers do: those before the present month, to 2020, and else those after.
  private func makePartitions(_ count: Int, in database: TestDatabase) throws {
    try database.sql(
      """
      SELECT count(parley.ensure_partition((1000 * extract(epoch FROM month))::bigint)) FROM generate_series(
        greatest('2020-01-01', date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month' * \(count - 3)),
        '2100-01-01', '1 month') WITH ORDINALITY AS months (month, place)
      WHERE place <= \(count)
      """)
  }

  private func partition(of interaction: Interaction, in database: TestDatabase) throws -> String {
    try database.sql("SELECT tableoid::regclass FROM parley.interactions WHERE id = '\(interaction.id)'")[0][0]
  }

  /// Locks every partition but some against everybody, so that a read which touches one of them does not end.
  private func lockPartitions(_ session: DatabaseSession, but free: [String]) throws -> Int {
    let locked = try session.sql(
      """
      SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'parley.interactions'::regclass
      """
    ).map { $0[0] }.filter { !free.contains($0) }
    try session.sql("BEGIN; LOCK TABLE \(locked.joined(separator: ", ")) IN ACCESS EXCLUSIVE MODE")
    return locked.count
  }

  private func configuration(_ database: TestDatabase) -> PostgresStore.Configuration {
    PostgresStore.Configuration(url: database.url, statementTimeout: .seconds(20))
  }

  @Test(arguments: [72, 240]) func readsTouchThePartitionsOfTheirMonthsAlone(count: Int) async throws {
    try await TestDatabase.with { database in
      try makePartitions(count, in: database)
      let made = try database.sql(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'parley.interactions'::regclass")
      #expect(made == [["\(count + 1)"]])
      try await database.withStore(configuration(database)) { store in
        try await database.warmUp(store)
        try await eventually("the store knows of partitions that are far ahead") {
          store.partitions.known == KnownPartitions(count: count + 1, areFarAhead: count > 100)
        }
        let month = Month(of: .now)
        // Of this month and the one before.
        let recent = (0..<5).map { Interaction.sample(at: (month - Int64($0 % 2)).start.time + Int64($0)) }
        let old = Interaction.sample(at: Timestamp("2022-08-15T12:00:00.000Z"))
        _ = try await store.record(recent, for: .b).map { try $0.get() }
        _ = try await store.record([old], for: Tenant("tenant-c")!).map { try $0.get() }
        try await eventually("all is merged") { try database.isMerged() }

        let session = try database.session()
        // Pages look at the month before as well, and at those ahead; at one of these where there are very many.
        let around = try session.sql(
          """
          SELECT 'parley.interactions_' || to_char(now() AT TIME ZONE 'UTC' + place * interval '1 month', 'YYYY_MM')
          FROM generate_series(-2, 2) AS place
          """
        ).map { $0[0] }
        #expect(try recent.prefix(2).map { try partition(of: $0, in: database) } == [around[2], around[1]])
        #expect(try lockPartitions(session, but: around) >= count - 5)
        for interaction in recent {
          #expect(try await store.interaction(interaction.id, of: .b)?.id == interaction.id)
        }
        let all = recent.map(\.id).sorted(by: >)
        for view in [InteractionView.full, .basic] {
          for size in [Int32(2), 200] {
            #expect(try await store.pages(size: size, view: view, of: .b).flatMap { $0 }.map(\.id) == all)
          }
        }
        var filter = InteractionFilter()
        filter.modelUsed = recent[0].content.modelUsed
        #expect(try await store.pages(filter, of: .b).flatMap { $0 }.map(\.id) == all)
        (filter.modelUsed, filter.conversationID) = (nil, recent[0].content.conversationID)
        #expect(try await store.pages(filter, of: .b).flatMap { $0 }.map(\.id) == all)
        (filter.conversationID, filter.minConfidence) = (nil, 0)
        #expect(try await store.pages(filter, of: .b).flatMap { $0 }.map(\.id) == all)
        #expect(try await store.stats(of: .b).totals.totalInteractions >= 1)
        try session.sql("ROLLBACK")

        #expect(
          try lockPartitions(session, but: ["parley.interactions_2022_08", "parley.interactions_2022_07"]) >= count - 2)
        let tenant = Tenant("tenant-c")!
        #expect(try await store.interaction(old.id, of: tenant)?.id == old.id)
        filter = InteractionFilter()
        filter.endTime = Timestamp("2022-08-20T00:00:00.000Z")
        #expect(try await store.pages(filter, of: tenant).flatMap { $0 }.map(\.id) == [old.id])
        try session.sql("ROLLBACK")
      }
    }
  }

  /// Interactions of one tenant, of times that leave gaps, in all kinds of partitions; of another, fewer.
  @Test func pagesAndGetsFindWhatThereIsInWhateverPartition() async throws {
    var random = SeededGenerator()
    let now = Timestamp.now
    let spans: [Int64] = [-1, 3, 40, 400, 2000, 9000]
    func time() -> Timestamp {
      now - .random(in: -3_600_000...max(1, random.pick(spans) * .millisecondsPerDay), using: &random)
    }
    try await TestDatabase.withStore { store, database in
      let lease = try database.session()
      var (kept, isHeld) = ([Tenant: Set<InteractionID>](), false)
      for round in 0..<12 {
        // What was recorded last may wait in the change log, or be merged.
        if random.chance(0.5) != isHeld {
          if isHeld { try lease.unlock() } else { try lease.holdRollupLease() }
          isHeld.toggle()
        }
        for (tenant, count) in [(Tenant.a, 30), (.b, 1)] {
          let given = (0..<count).map { _ in Interaction.sample(at: time()) }
          _ = try await store.record(given, for: tenant).map { try $0.get() }
          kept[tenant, default: []].formUnion(given.map(\.id))
        }
        if !isHeld, random.chance(0.5) { try await eventually("all is merged") { try database.isMerged() } }
        for (tenant, kept) in kept {
          let comment: Comment = "seed \(random.seed), round \(round), \(tenant)"
          var filter = InteractionFilter()
          if random.chance(0.5) { filter.startTime = time() }
          if random.chance(0.5) { filter.endTime = time() }
          if let start = filter.startTime, let end = filter.endTime, start >= end { filter.endTime = nil }
          switch Int.random(in: 0..<4, using: &random) {
          case 0: filter.conversationID = Interaction.sample().content.conversationID
          case 1: filter.modelUsed = Interaction.sample().content.modelUsed
          case 2: filter.minConfidence = 0
          default: break
          }
          let expected = kept.filter {
            $0.time >= filter.startTime ?? $0.time && $0.time < filter.endTime ?? $0.time + 1
          }.sorted(by: >)
          let size = random.pick([Int32(1), 7, 50, 200])
          let pages = try await store.pages(filter, size: size, view: random.pick([.full, .basic]), of: tenant)
          #expect(pages.flatMap { $0 }.map(\.id) == expected, comment)
          let asked = kept.shuffled(using: &random).prefix(40) + [random.id(at: time())]
          let gets = Calls(asked.count) { call throws(RPCError) in
            try await store.interaction(asked[asked.startIndex + call], of: tenant)?.id
          }
          for (id, answer) in zip(asked, await gets.all()) {
            #expect(try answer.get() == (kept.contains(id) ? id : nil), comment)
          }
        }
      }
      if isHeld { try lease.unlock() }
    }
  }

  /// Partitions come and go under statements that are prepared, and rows lie where no month is.
  @Test func partitionsMayBeMadeDetachedAndAttachedMeanwhile() async throws {
    try await TestDatabase.withStore { store, database in
      try await database.warmUp(store)
      let interaction = Interaction.sample(at: Timestamp("2021-06-15T12:00:00.000Z"))
      let far = InteractionID(at: Timestamp("2051-01-01T00:00:00.000Z"))
      func found() async throws -> [Bool] {
        let listed = try await store.pages(of: .b).flatMap { $0 }.map(\.id)
        let got = try await [interaction.id, far].asyncMap { try await store.interaction($0, of: .b) != nil }
        #expect(got == [interaction.id, far].map(listed.contains))
        return got
      }
      #expect(try await found() == [false, false])
      _ = try await store.record(interaction, for: .b).get()
      #expect(try await found() == [true, false])
      try database.sql("ALTER TABLE parley.interactions DETACH PARTITION parley.interactions_2021_06")
      #expect(try await found() == [false, false])
      try database.sql(
        """
        ALTER TABLE parley.interactions ATTACH PARTITION parley.interactions_2021_06
        FOR VALUES FROM ('\(InteractionID(lowerBound: Timestamp("2021-06-01T00:00:00.000Z")))')
        TO ('\(InteractionID(lowerBound: Timestamp("2021-07-01T00:00:00.000Z")))')
        """)
      #expect(try await found() == [true, false])
      // By another program, into a partition of no month.
      try database.sql(
        """
        CREATE TABLE parley.interactions_rest PARTITION OF parley.interactions DEFAULT;
        CREATE TEMP TABLE copy AS SELECT * FROM parley.interactions WHERE id = '\(interaction.id)';
        UPDATE copy SET id = '\(far)';
        INSERT INTO parley.interactions SELECT * FROM copy
        """)
      #expect(try await found() == [true, true])
      try await eventually("its hour has been rebuilt") { try database.isMerged() }
      #expect(try await found() == [true, true])
    }
  }

  /// A connection keeps a bounded number of statements, however many months are asked for.
  @Test func statementsOfManyMonthsAreBounded() async throws {
    try await TestDatabase.with { database in
      let connection = database.owner()
      let counts = try await connection.run { (connection) throws(PostgresError) in
        let count = Command(Statement("count", "SELECT count(*) FROM pg_prepared_statements"))
        let statements = RecordLayout.standard.statements
        var counts: [Int64] = []
        for month in 0..<600 {
          let months = Months(first: .first + Int64(month), end: .first + Int64(month + 1))
          let get = Command(statements.get(in: months)) {
            $0.add(Int32(1))
            $0.add([months.ids.lowerBound])
          }
          // The same two and more of one pipeline, and one that is asked for again and again.
          _ = try connection.pipeline([
            get,
            Command(statements.entries(in: .all)) {
              $0.add(Int32(1))
              $0.add(months.ids.lowerBound)
              $0.add(months.ids.lowerBound)
              $0.add(Int32(1))
            }, get,
          ])
          counts.append(try connection.run(count).first { _ in true }!.int64(0))
        }
        return counts
      }.get()
      #expect(counts.max()! < 300 && counts[10] == 13, "\(counts.max()!)")
    }
  }
}

extension Array {
  fileprivate func asyncMap<T>(_ transform: (Element) async throws -> T) async rethrows -> [T] {
    var mapped: [T] = []
    for element in self { mapped.append(try await transform(element)) }
    return mapped
  }
}
