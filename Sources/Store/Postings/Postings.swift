import Domain

/// Whose interactions, with which facet, of which hour since 1970.
struct PostingKey: Hashable {
  var tenant: TenantKey
  var facet: Facet
  var hour: Int32
}

/// Ids in memory, by key, on their way into `parley.postings`.
struct Postings {
  fileprivate(set) var ids: [PostingKey: [InteractionID]] = [:]

  mutating func add(_ fact: Fact, tenant: TenantKey) {
    for facet in fact.facets {
      ids[PostingKey(tenant: tenant, facet: facet, hour: fact.hour), default: []].append(fact.id)
    }
  }

  /// What one row holds: a quarter of a page of PostgreSQL's.
  fileprivate static let idsPerChunk = 120
}

// MARK: In PostgreSQL

extension Statement {
  fileprivate static let lastPosting = Statement("posting_last", PackageResources.posting_last_sql)
  fileprivate static let putPosting = Statement("posting_put", PackageResources.posting_put_sql)
  fileprivate static let removePostings = Statement("postings_remove", PackageResources.postings_remove_sql)
  fileprivate static let countPostings = Statement("postings_count", PackageResources.postings_count_sql)
  fileprivate static let readPostings = Statement("postings_read", PackageResources.postings_read_sql)
  fileprivate static let postingsOfHour = Statement("postings_of_hour", PackageResources.postings_of_hour_sql)
}

extension PostgresConnection {
  /// Adds postings to what is kept, in the transaction under way.
  func merge(_ postings: Postings) throws(PostgresError) {
    let keys = Array(postings.ids.keys)
    let kept = try pipeline(keys.map { key in Command(.lastPosting) { $0.add(key) } })
    var puts: [Command] = []
    for (key, rows) in zip(keys, kept) {
      var (chunk, ids) = (Int32(0), VarintWriter())
      if let last = rows.first(where: { _ in true }) {
        chunk = try last.int32(0)
        ids = VarintWriter(after: Array(try last.bytes(1)))
      }
      for id in postings.ids[key]! {
        if ids.bytes.count == Postings.idsPerChunk * 16 {
          puts.append(.put(ids.bytes, chunk, key))
          (chunk, ids) = (chunk + 1, VarintWriter())
        }
        ids.add(id)
      }
      puts.append(.put(ids.bytes, chunk, key))
    }
    _ = try pipeline(puts)
  }

  func removePostings(_ hours: Range<Int32>, of tenant: TenantKey) throws(PostgresError) {
    _ = try run(
      Command(.removePostings) {
        $0.add(tenant.rawValue)
        $0.add(hours.lowerBound)
        $0.add(hours.upperBound)
      })
  }

  /// Everything that an hour has, ids in no order.
  func postings(_ hour: Int32, of tenant: TenantKey) throws(PostgresError) -> Postings {
    let rows = try run(
      Command(.postingsOfHour) {
        $0.add(tenant.rawValue)
        $0.add(hour)
      })
    var postings = Postings()
    for row in rows {
      let key = PostingKey(tenant: tenant, facet: Facet(rawValue: try row.int64(0)), hour: hour)
      postings.ids[key, default: []] += try row.bytes(1).ids()
    }
    return postings
  }

  /// How much those hours have of these facets, up to a bound, in no unit but for comparing.
  func weight(of facets: [Facet], _ hours: Range<Int32>, tenant: TenantKey) throws(PostgresError) -> Int64 {
    let rows = try run(
      Command(.countPostings) {
        $0.add(facets, hours, tenant)
        $0.add(Int32(Limits.postingsWeighedMax))
      })
    return try rows.first { _ in true }!.int64(0)
  }

  /// The newest ids that those hours have of any of these facets, in no order; all of the hours they are of.
  ///
  /// - Returns: `rest` is what of the hours lies before those that were read.
  func newestIDs(
    of facets: [Facet], _ hours: Range<Int32>, tenant: TenantKey
  ) throws(PostgresError) -> (ids: [InteractionID], rest: Range<Int32>) {
    let rows = try run(
      Command(.readPostings) {
        $0.add(facets, hours, tenant)
        $0.add(Int32(Limits.postingsReadAtOnce))
      })
    var ids: [InteractionID] = []
    var first = hours.lowerBound
    for row in rows {
      first = try row.int32(0)
      ids += try row.bytes(1).ids()
    }
    return (ids, hours.lowerBound..<first)
  }
}

extension Command {
  fileprivate static func put(_ ids: [UInt8], _ chunk: Int32, _ key: PostingKey) -> Command {
    Command(.putPosting) {
      $0.add(key)
      $0.add(chunk)
      $0.add(ids)
    }
  }
}

extension Parameters {
  fileprivate mutating func add(_ key: PostingKey) {
    add(key.tenant.rawValue)
    add(key.facet.rawValue)
    add(key.hour)
  }

  fileprivate mutating func add(_ facets: [Facet], _ hours: Range<Int32>, _ tenant: TenantKey) {
    add(tenant.rawValue)
    add(facets.map(\.rawValue))
    add(hours.lowerBound)
    add(hours.upperBound)
  }
}

extension UnsafeRawBufferPointer {
  /// What a chunk holds.
  fileprivate func ids() throws(PostgresError) -> [InteractionID] {
    var reader = VarintReader(self)
    var ids: [InteractionID] = []
    while !reader.isAtEnd { ids.append(try reader.id()) }
    return ids
  }
}
