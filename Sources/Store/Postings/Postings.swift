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
  fileprivate static let lastPostings = Statement("postings_last", PackageResources.postings_last_sql)
  fileprivate static let putPostings = Statement("postings_put", PackageResources.postings_put_sql)
  fileprivate static let removePostings = Statement("postings_remove", PackageResources.postings_remove_sql)
  static let countPostings = Statement("postings_count", PackageResources.postings_count_sql)
  static let readPostings = Statement("postings_read", PackageResources.postings_read_sql)
  static let postingsOfHour = Statement("postings_of_hour", PackageResources.postings_of_hour_sql)
}

extension PostgresConnection {
  /// Adds postings to what is kept, in the transaction under way.
  func merge(_ postings: Postings) throws(PostgresError) {
    for keys in Array(postings.ids.keys).pieces(of: Limits.keysPerStatement) {
      var last = [(chunk: Int32, ids: VarintWriter)](repeating: (0, VarintWriter()), count: keys.count)
      for row in try run(Command(.lastPostings) { $0.add(keys) }) {
        last[Int(try row.int32(0)) - 1] = (try row.int32(1), VarintWriter(after: Array(try row.bytes(2))))
      }
      var chunks: [(key: PostingKey, chunk: Int32, ids: [UInt8])] = []
      for (key, last) in zip(keys, last) {
        var (chunk, ids) = last
        for id in postings.ids[key]! {
          if ids.bytes.count == Postings.idsPerChunk * 16 {
            chunks.append((key, chunk, ids.bytes))
            (chunk, ids) = (chunk + 1, VarintWriter())
          }
          ids.add(id)
        }
        chunks.append((key, chunk, ids.bytes))
      }
      for chunks in chunks.pieces(of: Limits.keysPerStatement) {
        _ = try run(
          Command(.putPostings) {
            $0.add(chunks.map(\.key))
            $0.add(chunks.map(\.chunk))
            $0.add(chunks.map(\.ids))
          })
      }
    }
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

extension Parameters {
  fileprivate mutating func add(_ keys: some Collection<PostingKey>) {
    add(keys.map(\.tenant.rawValue))
    add(keys.map(\.facet.rawValue))
    add(keys.map(\.hour))
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
