import Core

/// Whether recording works, by what became of the last batches: a full disk or a session that may only read lets every look at
/// the database pass, and fails every batch. A trigger or a constraint of others may refuse every row.
///
/// The tables as migrations make them refuse no interaction that meets the rules. What others have added to them may refuse one
/// client's rows alone, at an hour when nobody else records: the server must not shut everybody out for these. A client's token
/// is of one tenant. So refusals count only where two tenants have each met them for long, and no row of anybody's has gone in
/// since. Where a single tenant's rows are refused, its errors and the log tell.
struct RecordingState {
  typealias Instant = ContinuousClock.Instant

  /// What became of a batch.
  enum Outcome {
    /// Rows have gone in.
    case written
    /// None was to go in: their ids are taken.
    case answered
    /// The database refused every row that was to go in.
    case refused(cause: String, tenants: Set<TenantKey>)
    /// It could not write any.
    case failed(cause: String)
  }

  /// What has gone wrong since a batch was written.
  private struct Trouble {
    var first: Instant
    var last: Instant
    var cause: String
  }

  /// Two tenants are enough, and some may stop to record.
  private static let tenantsMax = 16

  /// Recording has failed for this long when it counts as broken. It does no longer when nothing has failed for as long, for
  /// whoever heeds health sends no records that could tell.
  private let failingMax: Duration
  private var failures: Trouble?
  private var refusals: [TenantKey: Trouble] = [:]

  init(failingMax: Duration) {
    self.failingMax = failingMax
  }

  mutating func ended(_ outcome: Outcome, at now: Instant) {
    switch outcome {
    case .written: (failures, refusals) = (nil, [:])
    case .answered: failures = nil
    case .refused(let cause, let tenants):
      failures = nil
      for tenant in tenants {
        if refusals[tenant] == nil, refusals.count >= Self.tenantsMax {
          refusals = refusals.filter { now - $0.value.last < failingMax }
          if refusals.count >= Self.tenantsMax { continue }
        }
        refusals[tenant] = trouble(refusals[tenant], cause, at: now)
      }
    case .failed(let cause): failures = trouble(failures, cause, at: now)
    }
  }

  private func trouble(_ before: Trouble?, _ cause: String, at now: Instant) -> Trouble {
    // Failures that are far apart, of a server that hardly records, are not one.
    guard var trouble = before, now - trouble.last <= failingMax * 6 else {
      return Trouble(first: now, last: now, cause: cause)
    }
    (trouble.last, trouble.cause) = (now, cause)
    return trouble
  }

  /// Why recording counts as broken; nil where it does not.
  func fault(at now: Instant) -> String? {
    if let failures, isLasting(failures, at: now) {
      return "no batch has been written for \((now - failures.first).components.seconds) s (\(failures.cause))"
    }
    let lasting = refusals.values.filter { isLasting($0, at: now) }.sorted { $0.first < $1.first }
    if lasting.count > 1 {
      let (seconds, cause) = ((now - lasting[1].first).components.seconds, lasting[1].cause)
      return """
        the database has refused every row, of several tenants, for \(seconds) s (\(cause)); look for a trigger or a \
        constraint of parley.interactions that parley has not made
        """
    }
    return nil
  }

  private func isLasting(_ trouble: Trouble, at now: Instant) -> Bool {
    now - trouble.first >= failingMax && now - trouble.last < failingMax
  }
}

extension RecordingState.Outcome {
  /// - Returns: nil where it tells nothing: all of them waited for others' locks.
  init?(_ outcomes: [BatchWriter.Outcome], of rows: [RecordRow]) {
    var isAnswered = false
    var failure: RPCError?
    var refusal: RPCError?
    var refused: Set<TenantKey> = []
    for (outcome, row) in zip(outcomes, rows) {
      switch outcome {
      // Most batches' first row.
      case .told(.success(let recorded)) where !recorded.alreadyRecorded:
        self = .written
        return
      case .told(.failure(let error)) where error.reason == .interactionRefused:
        refusal = refusal ?? error
        refused.insert(row.tenant)
      case .told: isAnswered = true
      case .failed(let failed): if !failed.isOfALock { failure = failure ?? failed.error }
      }
    }
    if let refusal {
      self = .refused(cause: refusal.cause ?? refusal.message, tenants: refused)
    } else if isAnswered {
      self = .answered
    } else if let failure {
      self = .failed(cause: failure.cause ?? failure.message)
    } else {
      return nil
    }
  }
}
