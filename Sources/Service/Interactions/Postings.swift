import Core
import Postgres

/// Whose interactions, with which facet, of which hour since 1970.
struct PostingKey: Hashable {
  var tenant: TenantKey
  var facet: Facet
  var hour: Int32
}

/// Ids in memory, by key, on their way into `parley.postings`.
struct Postings {
  fileprivate(set) var ids: [PostingKey: [InteractionID]] = [:]

  mutating func add(_ entry: ChangeEntry, tenant: TenantKey) {
    for facet in entry.facets {
      ids[PostingKey(tenant: tenant, facet: facet, hour: entry.hour), default: []].append(entry.id)
    }
  }

  mutating func merge(_ other: Postings) {
    ids.merge(other.ids) { $0 + $1 }
  }

  /// What one row holds: a quarter of a page of PostgreSQL's.
  fileprivate static let idsPerChunk = 120
  /// A chunk that is longer is damaged.
  fileprivate static let chunkBytesMax = idsPerChunk * 16 * 16
}

// MARK: In PostgreSQL

extension Statement {
  fileprivate static let lastPostings = Statement("postings_last", PackageResources.postings_last_sql)
  fileprivate static let lastPostingsOfOne = lastPostings.aboutOneTenant
  fileprivate static let putPostings = Statement("postings_put", PackageResources.postings_put_sql)
  fileprivate static let removePostings = Statement("postings_remove", PackageResources.postings_remove_sql)
  static let countPostings = Statement("postings_count", PackageResources.postings_count_sql)
  static let readPostings = Statement("postings_read", PackageResources.postings_read_sql)
  static let postingsOfHour = Statement("postings_of_hour", PackageResources.postings_of_hour_sql)
}

extension Session {
  /// Adds postings to what is kept, in the transaction under way: where tables are distributed, those of one tenant.
  ///
  /// - Returns: the hours of lists that are damaged, which have to be rebuilt: there they are begun anew.
  func merge(_ postings: Postings) throws(PostgresError) -> [TenantKey: StaleHours] {
    var stale: [TenantKey: StaleHours] = [:]
    let lastPostings: Statement = try isDistributed ? .lastPostingsOfOne : .lastPostings
    for keys in Array(postings.ids.keys).pieces(of: Limits.keysPerStatement) {
      var last = [(chunk: Int32, ids: VarintWriter)](repeating: (0, VarintWriter()), count: keys.count)
      let kept = try run(
        Command(lastPostings) {
          $0.add(keys)
          $0.add(Int32(Postings.chunkBytesMax))
        })
      for row in kept {
        let (place, chunk) = (Int(try row.int32(0)) - 1, try row.int32(1))
        if !row.isNull(2), try row.bytes(2).count % 16 == 0, (0..<Int32.max / 2).contains(chunk) {
          last[place] = (chunk, VarintWriter(after: Array(try row.bytes(2))))
        } else {
          let key = keys[keys.startIndex + place]
          stale[key.tenant, default: StaleHours()].insert(key.hour..<key.hour + 1)
        }
      }
      var chunks: [(key: PostingKey, chunk: Int32, ids: [UInt8])] = []
      for (key, last) in zip(keys, last) {
        var (chunk, ids) = last
        for id in postings.ids[key]! {
          if ids.bytes.count >= Postings.idsPerChunk * 16 {
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
    return stale
  }

  func removePostings(_ hours: Range<Int32>, of tenant: TenantKey) throws(PostgresError) {
    _ = try run(
      Command(.removePostings) {
        $0.add(tenant.rawValue)
        $0.add(hours.lowerBound)
        $0.add(hours.upperBound)
      })
  }
}

extension StatementRunner {
  /// Everything that an hour has, ids in no order; nil where some of it is damaged.
  func postings(_ hour: Int32, of tenant: TenantKey) throws(PostgresError) -> Postings? {
    let rows = try run(
      Command(.postingsOfHour) {
        $0.add(tenant.rawValue)
        $0.add(hour)
        $0.add(Int32(Postings.chunkBytesMax))
      })
    var postings = Postings()
    for row in rows {
      let key = PostingKey(tenant: tenant, facet: Facet(rawValue: try row.int64(0)), hour: hour)
      guard let ids = try row.postedIDs(1) else { return nil }
      postings.ids[key, default: []] += ids
    }
    return postings
  }
}

/// The newest ids that some hours have of any of some facets.
struct NewestPostings {
  /// In no order; all of the hours they are of.
  private(set) var ids: [InteractionID] = []
  /// What of the hours lies before those that were read.
  private(set) var rest: Range<Int32>
  /// Those whose interactions only their rows tell, for a list of theirs is damaged, or they have too many ids.
  private(set) var unlisted = StaleHours()

  /// What `Command.readPostings` of those hours answered.
  init(_ rows: Rows, of hours: Range<Int32>) throws(PostgresError) {
    var first = hours.lowerBound
    if rows.count > Limits.postingsReadMax, let row = rows.first(where: { _ in true }) {
      first = try row.int32(0)
      unlisted.insert(first..<hours.upperBound)
      rest = hours.lowerBound..<first
      return
    }
    rest = hours
    for row in rows {
      first = try row.int32(0)
      let hour = try row.int32(1)
      if let some = try row.postedIDs(2), some.allSatisfy({ $0.hour == hour }) {
        ids += some
      } else {
        unlisted.insert(hour..<hour + 1)
      }
    }
    rest = hours.lowerBound..<first
  }
}

extension Command {
  /// How much those hours have of these facets, up to a bound, in no unit but for comparing.
  static func countPostings(_ facets: [Facet], _ hours: Range<Int32>, _ tenant: TenantKey) -> Command {
    Command(.countPostings) {
      $0.add(facets, hours, tenant)
      $0.add(Int32(Limits.postingsWeighedMax))
    }
  }

  static func readPostings(_ facets: [Facet], _ hours: Range<Int32>, _ tenant: TenantKey) -> Command {
    Command(.readPostings) {
      $0.add(facets, hours, tenant)
      $0.add(Int32(Limits.postingsReadAtOnce))
      $0.add(Int32(Postings.chunkBytesMax))
      $0.add(Int32(Limits.postingsReadMax))
    }
  }
}

extension ReadTransaction {
  func newestPostings(
    of facets: [Facet], _ hours: Range<Int32>, tenant: TenantKey
  ) throws(PostgresError) -> NewestPostings {
    try NewestPostings(run(.readPostings(facets, hours, tenant)), of: hours)
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

extension Row {
  /// What a chunk holds; nil where it is damaged.
  fileprivate func postedIDs(_ column: Int) throws(PostgresError) -> [InteractionID]? {
    if isNull(column) { return nil }
    var reader = VarintReader(try bytes(column))
    var ids: [InteractionID] = []
    do throws(Unreadable) {
      while !reader.isAtEnd { ids.append(try reader.id()) }
    } catch {
      return nil
    }
    return ids
  }
}
