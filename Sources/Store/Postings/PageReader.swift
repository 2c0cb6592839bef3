import Domain
import Postgres

/// Among which interactions of a range a page looks.
enum PageSource: CaseIterable {
  case all
  /// The same for a filter of nothing but a range. It has no conditions, which PostgreSQL would prepare for each
  /// execution.
  case unfiltered
  /// Those of the filter's conversation, by its index.
  case conversation
  /// The newest few of them.
  case newest
  /// Those whose ids are the statement's last parameter.
  case candidates
  /// Those of a few hours. The same as `all`, as a statement of its own, for it is planned in another way.
  case fewHours

  /// As interaction_page.sql has it for `{source}`.
  fileprivate var text: String {
    switch self {
    case .all, .unfiltered, .fewHours: "parley.interactions"
    case .conversation:
      "(SELECT * FROM parley.interactions WHERE tenant = $1::int4 AND conversation_id = $4::text) AS conversation"
    case .newest:
      """
      (
        SELECT * FROM parley.interactions
        WHERE tenant = $1::int4 AND id >= $2::uuid AND id < $3::uuid {months}
        ORDER BY id DESC
        LIMIT \(Limits.interactionsLookedThrough)
      ) AS newest
      """
    case .candidates:
      // OFFSET 0 keeps the conditions outside from being what the planner goes by.
      """
      (
        SELECT interactions.*
        FROM unnest($14::uuid[]) AS candidate
        CROSS JOIN LATERAL (
          SELECT * FROM parley.interactions WHERE tenant = $1::int4 AND id = candidate {months} OFFSET 0
        ) AS interactions
      ) AS candidates
      """
    }
  }
}

/// The statements that read a page.
struct PageStatements: Sendable {
  private let pages: [PageSource: StatementOfMonths]
  private let weighedPages: [PageSource: StatementOfMonths]

  init(_ columns: [Column]) {
    let page = sql(
      PackageResources.interaction_page_sql,
      [
        "viewed_columns": LayoutStatements.selected(columns) { column in
          column.isLong ? "CASE WHEN $13::bool THEN \(column.bounded) ELSE '' END" : column.bounded
        },
        "intent_names": BoundedColumns.intentNames,
      ])
    let weighed = sql(
      PackageResources.interaction_page_weighed_sql,
      [
        "columns": LayoutStatements.selected(columns) { $0.name },
        "weight": columns.compactMap(\.weight).joined(separator: " + "), "bytes": "\(Limits.pageBytesMax)",
        "page": page,
      ])
    pages = Self.pages("interaction_page", page)
    weighedPages = Self.pages("interaction_page_weighed", weighed)
  }

  func page(from source: PageSource, in months: Months) -> Statement { pages[source]!(in: months) }

  /// The same, cut where its rows weigh too much for one message.
  func weighedPage(from source: PageSource, in months: Months) -> Statement { weighedPages[source]!(in: months) }

  private static func pages(_ name: String, _ text: String) -> [PageSource: StatementOfMonths] {
    Dictionary(
      uniqueKeysWithValues: PageSource.allCases.map { source in
        let text = source == .unfiltered ? withoutFilter(text) : text
        return (source, StatementOfMonths("\(name)_\(source)", text.replacing("{source}", with: source.text)))
      })
  }

  /// Without the conditions on $4 to $11, and the parameters behind them in their place.
  private static func withoutFilter(_ text: String) -> String {
    let parts = text.split(separator: "-- {filter}")
    return String(parts[0] + parts[2]).replacing("$12::", with: "$4::").replacing("$13::", with: "$5::")
  }
}

/// Finds a page of a list: newest first, under any filter, without reading what lies between.
///
/// Where the newest few interactions do not fill the page, it goes by posting lists, from the last hours that have
/// any of the filter's rarest value back, and looks at each interaction they name. The change log tells what has not
/// come into posting lists yet, in the same snapshot. Stale hours are read through row by row, for their lists may lack
/// some interactions; where many are stale, or very many changes wait, all is.
///
/// Rows are looked for in the months before the page's end, and in others only if these can hold more of the page.
struct PageReader {
  typealias Page = (interactions: [Interaction], more: Bool)

  private let query: ListInteractions.Checked
  private let tenant: NumberedTenant
  private let layout: RecordLayout
  private let ids: Range<InteractionID>
  private let now: Timestamp
  /// Those that a page is looked for in first.
  private let months: Months

  /// - Parameter looksFarAhead: there are partitions of months that nobody can record into. A page without an end then asks
  ///   whether they have rows, rather than read them.
  init(
    _ query: ListInteractions.Checked, tenant: NumberedTenant, layout: RecordLayout = .standard,
    looksFarAhead: Bool = false, now: Timestamp = .now
  ) {
    self.query = query
    self.tenant = tenant
    self.layout = layout
    self.now = now
    let last = InteractionID(high: .max, low: .max)
    let start = InteractionID(lowerBound: query.filter.startTime ?? Timestamp(milliseconds: 0))
    let end = min(query.filter.endTime.map(InteractionID.init(lowerBound:)) ?? last, query.after ?? last)
    ids = start..<max(start, end)
    let months = Months(upTo: ids.upperBound, now: now)
    self.months = months.ids.upperBound < ids.upperBound && !looksFarAhead ? months.withoutEnd : months
  }

  func page(on connection: ReaderSession) throws(PostgresError) -> Page {
    if query.filter.conversationID != nil { return try pageOfRows(.conversation, on: connection) }
    let facets = query.filter.facets
    if !facets.isEmpty {
      if case .whole(let page) = try look(.newest, in: months, on: connection), page.more { return page }
      do throws(PostgresError) {
        let found = try connection.read(tenant: tenant, plan: .keyed) { (connection) throws(PostgresError) in
          try search(by: facets, on: connection)
        }
        if let found { return found }
      } catch {
        // A page of the postings that PostgreSQL cannot read is as good as a damaged list.
        guard error.mayBeOfOneRow else { throw error }
      }
    }
    return try pageOfRows(query.filter.selectsByTimeAlone ? .unfiltered : .all, on: connection)
  }

  private func pageOfRows(
    _ source: PageSource, on connection: ReaderSession
  ) throws(PostgresError) -> Page {
    var months = months
    for attempt in 0..<Self.looksMax {
      switch try look(source, in: months, isAsking: attempt > 0, on: connection) {
      case .whole(let page): return page
      case .partOf(let wider): months = wider
      }
    }
    return try page(connection.read([command(source, in: coveringMonths)], tenant: tenant, plan: .ordered)[0])
  }

  /// So often a page is looked for before all months are read, if more and more of them turn out to have rows.
  private static let looksMax = 3

  private var coveringMonths: Months { Months(covering: ids, now: now) }

  private enum Look {
    case whole(Page)
    /// The page may have interactions of these months.
    case partOf(Months)
  }

  /// Looks for the page in some months, and whether it can have interactions of others, in one snapshot.
  ///
  /// - Parameter isAsking: asks for earlier months even though a full page has no use for them.
  private func look(
    _ source: PageSource, in months: Months, isAsking: Bool = false, on connection: ReaderSession
  ) throws(PostgresError) -> Look {
    let elsewhere = Elsewhere(ids, besides: months)
    let asks = isAsking ? !elsewhere.isEmpty : elsewhere.hasLater
    let commands = [command(source, in: months)] + (asks ? [elsewhere.command(tenant.key)] : [])
    let answers: [Rows]
    do throws(PostgresError) {
      answers = try connection.read(commands, tenant: tenant, plan: .ordered)
    } catch {
      // The rollups that PostgreSQL cannot read are not needed where all months are looked through.
      guard error.mayBeOfOneRow, asks else { throw error }
      return .partOf(coveringMonths)
    }
    let page = try page(answers[0])
    if asks { return try elsewhere.wider(answers[1], isFull: page.more).map(Look.partOf) ?? .whole(page) }
    return page.more || elsewhere.isEmpty ? .whole(page) : .partOf(months)
  }

  /// - Returns: nil where posting lists are of too little help.
  private func search(
    by facets: [[Facet]], on connection: ReadTransaction
  ) throws(PostgresError) -> Page? {
    let hours = ids.lowerBound.hour..<ids.upperBound.hour + 1
    var pending: [InteractionID] = []
    let log = try connection.changeLog(of: tenant.key, layout) { fact, stale in
      guard pending.count <= Limits.pendingIDsHeldMax, selects(fact), !stale.contains(fact.hour) else { return }
      pending.append(fact.id)
    }
    guard log.unreadable == nil, pending.count <= Limits.pendingIDsHeldMax else { return nil }
    pending.sort(by: >)

    let rarest = try rarest(of: facets, hours, on: connection)
    var walk = Walk(hours: hours, stale: log.stale, pending: pending)
    var found: [Interaction] = []
    while found.count < rowsMax, !walk.hours.isEmpty {
      guard walk.stale.within(hours).reduce(0, { $0 + $1.count }) <= Limits.staleHoursListedMax else { return nil }
      if let stale = walk.nextStale {
        try readThrough(stale, &found, on: connection)
        walk.hours = walk.hours.lowerBound..<stale.lowerBound
        continue
      }
      let fresh = walk.nextFresh
      let newest = try connection.newestIDs(of: rarest, fresh, tenant: tenant.key)
      guard newest.unlisted.isEmpty else {
        // Their interactions come from the rows, and none of them twice.
        walk.add(newest.unlisted)
        continue
      }
      walk.hours = walk.hours.lowerBound..<newest.rest.upperBound
      // A damaged list may name an interaction twice.
      let candidates = Set(newest.ids.filter(ids.contains)).union(walk.takePending()).sorted(by: >)
      try look(at: candidates, &found, on: connection)
    }

    guard query.view == .full else { return (Array(found.prefix(query.pageSize)), found.count > query.pageSize) }
    let shown = found.map(\.id)
    return try page(
      try connection.run(
        command(.candidates, shown, isWeighed: true, limit: rowsMax, within: ids, in: months(of: shown[...]))))
  }

  /// Adds what the filter selects of the rows of some hours, newest first, until the page has its rows.
  private func readThrough(
    _ hours: Range<Int32>, _ found: inout [Interaction], on connection: ReadTransaction
  ) throws(PostgresError) {
    let range = (InteractionID(lowerBoundOfHour: hours.lowerBound)..<InteractionID(lowerBoundOfHour: hours.upperBound))
      .clamped(to: ids)
    let rows = try connection.run(
      command(
        .fewHours, isWeighed: false, limit: rowsMax - found.count, within: range,
        in: Months(covering: range, now: now)))
    for row in rows { found.append(try layout.interaction(row)) }
  }

  /// Whether a fact may be of an interaction that the page is to show.
  private func selects(_ fact: Fact) -> Bool {
    ids.contains(fact.id) && query.filter.selects(fact)
      && query.filter.intent.map { fact.intents.contains(.intent($0)) } ?? true
  }

  private func rarest(
    of facets: [[Facet]], _ hours: Range<Int32>, on connection: ReadTransaction
  ) throws(PostgresError) -> [Facet] {
    if facets.count == 1 { return facets[0] }
    var rarest: (facets: [Facet], weight: Int64) = ([], .max)
    for facets in facets {
      let weight = try connection.weight(of: facets, hours, tenant: tenant.key)
      if weight < rarest.weight { rarest = (facets, weight) }
    }
    return rarest.facets
  }

  /// Adds those of the candidates that the filter selects, newest first, until the page has its rows.
  private func look(
    at candidates: [InteractionID], _ found: inout [Interaction], on connection: ReadTransaction
  ) throws(PostgresError) {
    var rest = candidates[...]
    // Where few of them are selected, more are looked at together.
    var count = 64
    while found.count < rowsMax, !rest.isEmpty {
      let looked = rest.prefix(count)
      let rows = try connection.run(
        command(
          .candidates, Array(looked), isWeighed: false, limit: rowsMax - found.count, within: ids,
          in: months(of: looked)))
      for row in rows { found.append(try layout.interaction(row)) }
      rest = rest.dropFirst(count)
      count = min(count * 2, 1024)
    }
  }

  // MARK: Statements

  /// One more than the page, to know whether there is more.
  private var rowsMax: Int { query.pageSize + 1 }

  /// Without its texts the longest page there can be fits into a message.
  private var isWeighed: Bool { query.view == .full }

  /// Of some candidates, newest first.
  private func months(of candidates: ArraySlice<InteractionID>) -> Months {
    guard let newest = candidates.first, let oldest = candidates.last else { return .all }
    return Months(covering: oldest...newest, now: now)
  }

  private func command(_ source: PageSource, in months: Months) -> Command {
    command(source, isWeighed: isWeighed, limit: rowsMax, within: ids, in: months)
  }

  private func command(
    _ source: PageSource, _ candidates: [InteractionID]? = nil, isWeighed: Bool, limit: Int,
    within ids: Range<InteractionID>, in months: Months
  ) -> Command {
    let pages = layout.statements.pages
    let statement = isWeighed ? pages.weighedPage(from: source, in: months) : pages.page(from: source, in: months)
    return Command(statement) {
      $0.add(tenant: tenant.key, from: ids.lowerBound, upTo: ids.upperBound)
      if source != .unfiltered { $0.add(query.filter) }
      $0.add(Int32(limit))
      $0.add(isWeighed)
      if let candidates { $0.add(candidates) }
    }
  }

  private func page(_ rows: Rows) throws(PostgresError) -> Page {
    var interactions: [Interaction] = []
    var found = rows.count
    for row in rows {
      if interactions.count < query.pageSize { interactions.append(try layout.interaction(row)) }
      if isWeighed { found = Int(try row.int64(layout.selectedCount)) }
    }
    return (interactions, found > interactions.count)
  }
}

/// Where a search is: it goes from the last hour back.
private struct Walk {
  /// Those that are still to come.
  var hours: Range<Int32>
  private(set) var stale: StaleHours
  /// What the change log adds to hours that are not stale, newest first.
  private var pending: ArraySlice<InteractionID>

  init(hours: Range<Int32>, stale: StaleHours, pending: [InteractionID]) {
    self.hours = hours
    self.stale = stale
    self.pending = pending[...]
  }

  /// The next hours, if they are stale.
  var nextStale: Range<Int32>? {
    guard let last = stale.within(hours).last, last.upperBound == hours.upperBound else { return nil }
    return last
  }

  /// The next hours, up to those that are stale.
  var nextFresh: Range<Int32> { (stale.within(hours).last?.upperBound ?? hours.lowerBound)..<hours.upperBound }

  mutating func add(_ hours: StaleHours) {
    stale.formUnion(hours)
    pending = pending.filter { !stale.contains($0.hour) }[...]
  }

  /// What the change log adds to the hours that are behind.
  mutating func takePending() -> ArraySlice<InteractionID> {
    let count = hours.isEmpty ? pending.count : pending.prefix { $0.hour >= hours.upperBound }.count
    defer { pending = pending.dropFirst(count) }
    return pending.prefix(count)
  }
}
