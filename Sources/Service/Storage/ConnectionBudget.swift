/// How many connections to PostgreSQL a server makes at most, and what they are for. Of each kind there is at least
/// one, which is made at start; the others are made when they are needed.
public struct ConnectionBudget: Sendable, Equatable {
  /// One each for the tenants and partitions, for the rollups, and for the health check.
  private static let others = 3
  private static let writersDefault = 2

  /// The least that a server works with: two readers, so that keyed reads never wait for those that scan rows.
  public static let least = least(readers: 2)
  public static let greatest = others + writersDefault + 64
  public static let standard = ConnectionBudget(writers: writersDefault, readers: 5)

  /// How many batches are written at once.
  public let writers: Int
  /// How many reads run at once.
  public let readers: Int

  /// All of them.
  public var total: Int { Self.others + writers + readers }

  /// So many of the readers, at a time, are for reads that scan rows.
  var scansMax: Int { max(1, readers / 4) }

  init(writers: Int, readers: Int) {
    self.writers = writers
    self.readers = readers
  }

  /// The least that a server with so many readers works with: one writes.
  public static func least(readers: Int) -> Int { others + 1 + readers }

  /// - Parameters:
  ///   - total: of all kinds together; nil for as many as the readers and the others need.
  ///   - readers: nil for what the others leave, or for the standard.
  /// - Returns: nil where they are too few for that.
  public init?(total: Int?, readers: Int?) {
    guard let total else {
      self.init(writers: Self.writersDefault, readers: readers ?? Self.standard.readers)
      return
    }
    let rest = total - Self.others
    let writers = min(Self.writersDefault, rest - (readers ?? 2))
    guard writers >= 1 else { return nil }
    self.init(writers: writers, readers: readers ?? min(rest - writers, 64))
  }
}
