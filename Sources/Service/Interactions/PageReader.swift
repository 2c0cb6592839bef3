import Core
import Postgres

/// Finds a page of a list: newest first, under any filter, without reading what lies between.
///
/// Where the newest few interactions do not fill the page, it goes by posting lists, from the last hours that have
/// any of the filter's rarest value back, and looks at each interaction they name. The change log tells what has not
/// come into posting lists yet, in the same snapshot. Stale hours are read through row by row, for their lists may lack
/// some interactions; where many are stale, or very many changes wait, all is.
///
/// Rows are looked for in the months before the page's end, and in others only if these can hold more of the page. Where
/// that is likely, it is asked along with the first look: of a conversation, and of a tenant whose last page was not full.
struct PageReader {
  typealias Page = (interactions: [Interaction], more: Bool)

  /// What some rows come to.
  private struct Found {
    var interactions: [Interaction]
    var more: Bool
    /// Their texts may be too much for one message, and are not all there.
    var isHeavy = false
  }

  private let query: ListInteractions.Checked
  private let tenant: NumberedTenant
  private let layout: RecordLayout
  private let hints: PageHints
  private let ids: Range<InteractionID>
  private let now: Timestamp
  private let fields: [FilterField]
  private var texts: PageTexts
  /// Those that a page is looked for in first.
  private let months: Months
  /// So few partitions are read together for less than it takes to ask which of them are needed.
  private let hasFewPartitions: Bool

  /// - Parameter partitions: where some are of months that nobody can record into, a page without an end asks whether they
  ///   have rows, rather than read them.
  init(
    _ query: ListInteractions.Checked, tenant: NumberedTenant, _ layout: RecordLayout = .standard,
    _ partitions: KnownPartitions = KnownPartitions(), _ hints: PageHints = PageHints(), now: Timestamp = .now
  ) {
    self.query = query
    self.tenant = tenant
    self.layout = layout
    self.hints = hints
    self.now = now
    fields = query.filter.fields
    texts = query.view == .full ? .ofLightRows : .none
    hasFewPartitions = partitions.count.map { $0 <= Self.fewPartitions } ?? false
    let last = InteractionID(high: .max, low: .max)
    let start = InteractionID(lowerBound: query.filter.startTime ?? Timestamp(milliseconds: 0))
    let end = min(query.filter.endTime.map(InteractionID.init(lowerBound:)) ?? last, query.after ?? last)
    ids = start..<max(start, end)
    let months = Months(upTo: ids.upperBound, now: now)
    self.months = months.ids.upperBound < ids.upperBound && !partitions.areFarAhead ? months.withoutEnd : months
  }

  private static let fewPartitions = 8

  func page(on connection: ReaderSession) throws(PostgresError) -> Page {
    var found = try find(on: connection)
    if found.isHeavy {
      var weighing = self
      weighing.texts = .weighed
      found = try weighing.find(on: connection)
    }
    return (found.interactions, found.more)
  }

  private func find(on connection: ReaderSession) throws(PostgresError) -> Found {
    let facets = query.filter.facets
    guard query.filter.conversationID == nil, !facets.isEmpty else { return try findInRows(on: connection) }
    let rarity = hints.rarity(query.filter, of: tenant.name)
    let isRare = rarity == .rare
    if !isRare, let found = try findInNewest(on: connection) {
      if rarity == .seemsRare { hints.remember(isRare: false, query.filter, of: tenant.name) }
      return found
    }
    do throws(PostgresError) {
      if let found = try search(by: facets, on: connection) { return found }
    } catch {
      // A page of the postings that PostgreSQL cannot read is as good as a damaged list.
      guard error.mayBeOfOneRow else { throw error }
    }
    if isRare, let found = try findInNewest(on: connection) { return found }
    return try findInRows(on: connection)
  }

  /// - Returns: nil where the newest do not fill the page.
  private func findInNewest(on connection: ReaderSession) throws(PostgresError) -> Found? {
    guard case .whole(let found) = try look(.newest, in: months, on: connection), found.more else { return nil }
    return found
  }

  private func findInRows(on connection: ReaderSession) throws(PostgresError) -> Found {
    // Where the first look is at all months, there is nothing to keep in mind.
    let kind = Elsewhere(ids, besides: months).isEmpty ? nil : PageHints.Kind(query.filter)
    let hint = kind.flatMap { hints.hint(for: tenant.name, $0) }
    let isRarelyFull = kind == .ofConversation || hint != nil
    var months = months
    if isRarelyFull { months = hasFewPartitions ? coveringMonths : hint.map { months.from($0.first) } ?? months }
    for attempt in 0..<Self.looksMax {
      switch try look(.all, in: months, isAsking: isRarelyFull || attempt > 0, on: connection) {
      case .whole(let found):
        if let kind {
          let hint = PageHints.Hint(first: hasFewPartitions ? self.months.first : months.first)
          hints.remember(kind == .ofConversation || !found.more ? hint : nil, for: tenant.name, kind)
        }
        return found
      case .partOf(let wider): months = wider
      }
    }
    return try found(connection.read([command(.all, in: coveringMonths)], tenant: tenant, plan: .keyed)[0])
  }

  /// So often a page is looked for before all months are read, if more and more of them turn out to have rows.
  private static let looksMax = 3

  private var coveringMonths: Months { Months(covering: ids, now: now) }

  private enum Look {
    case whole(Found)
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
    let commands = [command(source, in: months)] + (asks ? elsewhere.commands(tenant.key) : [])
    let answers: [Rows]
    do throws(PostgresError) {
      answers = try connection.read(commands, tenant: tenant, plan: .keyed)
    } catch {
      // The rollups that PostgreSQL cannot read are not needed where all months are looked through.
      guard error.mayBeOfOneRow, asks else { throw error }
      return .partOf(coveringMonths)
    }
    let found = try found(answers[0])
    if asks {
      return try elsewhere.wider(answers.dropFirst(), layout.plan, isFull: found.more).map(Look.partOf) ?? .whole(found)
    }
    return found.more || elsewhere.isEmpty ? .whole(found) : .partOf(months)
  }

  /// Goes by posting lists, in one snapshot. Of one field they are read with the transaction's begin; of several fields
  /// first how rare their values are.
  ///
  /// - Returns: nil where posting lists are of too little help.
  private func search(by facets: [[Facet]], on connection: ReaderSession) throws(PostgresError) -> Found? {
    let hours = ids.lowerBound.hour..<ids.upperBound.hour + 1
    let log = ChangeLog.commands(of: tenant.key)
    let isOfOne = facets.count == 1
    let begin = facets.map {
      isOfOne ? Command.readPostings($0, hours, tenant.key) : .countPostings($0, hours, tenant.key)
    }
    var (changes, pending, newest, weights) = (
      ChangeLog(layout.plan), [InteractionID](), NewestPostings?.none, [Int64]()
    )
    return try connection.read(tenant: tenant, plan: .keyed, beginningWith: log + begin) {
      (place, rows) throws(PostgresError) in
      guard place >= log.count else {
        return try changes.take(rows, ofCommand: place) { entry, stale in
          guard pending.count <= Limits.pendingIDsHeldMax, selects(entry), !stale.contains(entry.hour) else { return }
          pending.append(entry.id)
        }
      }
      if isOfOne {
        newest = try NewestPostings(rows, of: hours)
      } else {
        weights.append(try rows.first { _ in true }!.int64(0))
      }
    } _: { (connection) throws(PostgresError) in
      guard changes.unreadable == nil, pending.count <= Limits.pendingIDsHeldMax else { return nil }
      let rarest = isOfOne ? facets[0] : zip(facets, weights).min { $0.1 < $1.1 }!.0
      let walk = Walk(hours: hours, stale: changes.stale, pending: pending.sorted(by: >))
      return try search(by: rarest, walk, newest, on: connection)
    }
  }

  /// - Parameter newest: what the posting lists of all hours were found to have.
  private func search(
    by facets: [Facet], _ walk: Walk, _ newest: NewestPostings?, on connection: ReadTransaction
  ) throws(PostgresError) -> Found? {
    let hours = walk.hours
    var (walk, known, found, candidateCount) = (walk, newest, [Interaction](), 0)
    while found.count < rowsMax, !walk.hours.isEmpty {
      guard walk.stale.within(hours).reduce(0, { $0 + $1.count }) <= Limits.staleHoursListedMax else { return nil }
      if let stale = walk.nextStale {
        try readThrough(stale, &found, on: connection)
        walk.hours = walk.hours.lowerBound..<stale.lowerBound
        continue
      }
      let fresh = walk.nextFresh
      let newest =
        if let known, fresh == hours { known } else {
          try connection.newestPostings(of: facets, fresh, tenant: tenant.key)
        }
      known = nil
      guard newest.unlisted.isEmpty else {
        // Their interactions come from the rows, and none of them twice.
        walk.add(newest.unlisted)
        continue
      }
      walk.hours = walk.hours.lowerBound..<newest.rest.upperBound
      // A damaged list may name an interaction twice.
      let candidates = Set(newest.ids.filter(ids.contains)).union(walk.takePending()).sorted(by: >)
      candidateCount += candidates.count
      if walk.hours.isEmpty, found.isEmpty, !candidates.isEmpty, candidates.count <= Self.lookedAtOnce {
        hints.remember(isRare: true, query.filter, of: tenant.name)
        return try self.found(connection.runLast(command(.candidates(candidates), texts, limit: rowsMax)))
      }
      try look(at: candidates, &found, on: connection)
    }

    // Where few of many candidates fill the page, the newest would have filled it, too.
    let isCommon = found.count == rowsMax && candidateCount >= Self.commonFactor * rowsMax
    hints.remember(isRare: !isCommon, query.filter, of: tenant.name)
    guard texts != .none, !found.isEmpty else {
      return Found(interactions: Array(found.prefix(query.pageSize)), more: found.count > query.pageSize)
    }
    return try self.found(connection.runLast(command(.candidates(found.map(\.id)), texts, limit: rowsMax)))
  }

  /// So many candidates are looked at first.
  private static let lookedAtOnce = 64
  private static let commonFactor = 8

  /// Adds what the filter selects of the rows of some hours, newest first, until the page has its rows.
  private func readThrough(
    _ hours: Range<Int32>, _ found: inout [Interaction], on connection: ReadTransaction
  ) throws(PostgresError) {
    let range = (InteractionID(lowerBoundOfHour: hours.lowerBound)..<InteractionID(lowerBoundOfHour: hours.upperBound))
      .clamped(to: ids)
    let rows = try connection.run(
      command(.range(.all, range, Months(covering: range, now: now)), PageTexts.none, limit: rowsMax - found.count))
    for row in rows { found.append(try layout.interaction(row, hasTexts: false)) }
  }

  /// Whether an entry may be of an interaction that the page is to show.
  private func selects(_ entry: ChangeEntry) -> Bool {
    ids.contains(entry.id) && query.filter.selects(entry)
      && query.filter.intent.map { entry.intents.contains(.intent($0)) } ?? true
  }

  /// Adds those of the candidates that the filter selects, newest first, until the page has its rows.
  private func look(
    at candidates: [InteractionID], _ found: inout [Interaction], on connection: ReadTransaction
  ) throws(PostgresError) {
    var rest = candidates[...]
    // Where few of them are selected, more are looked at together.
    var count = Self.lookedAtOnce
    while found.count < rowsMax, !rest.isEmpty {
      let rows = try connection.run(
        command(.candidates(Array(rest.prefix(count))), PageTexts.none, limit: rowsMax - found.count))
      for row in rows { found.append(try layout.interaction(row, hasTexts: false)) }
      rest = rest.dropFirst(count)
      count = min(count * 2, 1024)
    }
  }

  // MARK: Statements

  /// One more than the page, to know whether there is more.
  private var rowsMax: Int { query.pageSize + 1 }

  /// The rows that a page is made of.
  private enum Selection {
    case range(PageSource, Range<InteractionID>, Months)
    /// Newest first.
    case candidates([InteractionID])
  }

  private func command(_ source: PageSource, in months: Months) -> Command {
    command(.range(source, ids, months), texts, limit: rowsMax)
  }

  private func command(_ selection: Selection, _ texts: PageTexts, limit: Int) -> Command {
    let (source, months): (PageSource, Months) =
      switch selection {
      case .range(let source, _, let months): (source, months)
      case .candidates(let ids): (.candidates, Months(covering: ids.last!...ids[0], now: now))
      }
    let form = PageForm(source: source, months: months, fields: fields, texts: texts)
    return Command(layout.statements.pages(form)) {
      switch selection {
      case .range(_, let ids, _): $0.add(tenant: tenant.key, from: ids.lowerBound, upTo: ids.upperBound)
      case .candidates(let ids):
        $0.add(tenant.key.rawValue)
        $0.add(ids)
      }
      $0.add(Int32(limit))
      if texts == .ofLightRows { $0.add(Int32(Limits.pageBytesMax / rowsMax)) }
      $0.add(fields, of: query.filter)
    }
  }

  private func found(_ rows: Rows) throws(PostgresError) -> Found {
    var interactions: [Interaction] = []
    interactions.reserveCapacity(min(rows.count, query.pageSize))
    var (count, isHeavy, bytes) = (rows.count, false, 0)
    for row in rows {
      if interactions.count < query.pageSize {
        let interaction = try layout.interaction(row, hasTexts: texts != .none)
        if texts == .ofLightRows {
          bytes += interaction.bytes
          if try !row.bool(layout.selectedCount) { isHeavy = true }
        }
        interactions.append(interaction)
      }
      if texts == .weighed { count = Int(try row.int64(layout.selectedCount)) }
    }
    // Without its texts the longest page there can be fits into a message.
    return Found(
      interactions: interactions, more: count > interactions.count,
      isHeavy: isHeavy || texts == .ofLightRows && bytes > Limits.pageBytesMax)
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
