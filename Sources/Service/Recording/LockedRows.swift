import Core
import Postgres
import Synchronization

/// Remembers the locks of other sessions that rows have waited for in vain: on a key, on a tenant's month, or on a tenant as a
/// whole.
///
/// What is locked is put off for a pause, which grows with each failed try. During the pause its rows fail at once, without a
/// round trip to PostgreSQL. Then one writer tries them, while the other writer still lets them fail. So the rows behind one
/// lock never hold up both writers.
///
/// The memory is bounded and may forget a lock. That costs time, because rows wait again, but no result becomes wrong.
final class LockedRows: Sendable {
  /// What is taken to be locked.
  enum Scope: Hashable {
    case key(RecordRow.Key)
    case month(Int32, Month)
    case tenant(Int32)

    /// What is, where several of its like are.
    var wider: Scope? {
      switch self {
      case .key(let key): .month(key.tenant, Month(of: key.id))
      case .month(let tenant, _): .tenant(tenant)
      case .tenant: nil
      }
    }

    var tenant: Int32 {
      switch self {
      case .key(let key): key.tenant
      case .month(let tenant, _), .tenant(let tenant): tenant
      }
    }

    /// Those that hold a key, the narrowest first.
    static func holding(_ key: RecordRow.Key) -> [Scope] {
      [.key(key), .month(key.tenant, Month(of: key.id)), .tenant(key.tenant)]
    }
  }

  private struct Locked {
    var backoff = Backoff(from: .seconds(1), to: .seconds(5))
    var due = Duration.zero
    /// A writer is at it.
    var isTried = false
  }

  /// Which rows of a batch are tried.
  struct Admission {
    /// The places of those that are not.
    fileprivate(set) var putOff: Set<Int> = []
    /// The tenants that have something locked: what they have is tried apart, and not for long.
    fileprivate(set) var tenants: Set<Int32> = []
    fileprivate var tried: Set<Scope> = []
  }

  /// What nobody has tried for so long after it was due, since its callers gave up, is forgotten.
  private static let forgottenAfter = Duration.seconds(60)
  /// Where so many of one kind are locked, what they are all in is taken to be.
  private static let narrowerMax = 4

  private let clock: JobClock
  private let scopesMax: Int
  private let locked = Mutex<[Scope: Locked]>([:])

  init(clock: JobClock = .machine, scopesMax: Int = 1024) {
    self.clock = clock
    self.scopesMax = scopesMax
  }

  /// Asks which rows to try. Who asked tells the end.
  ///
  /// - Returns: nil where nothing is put off, as nearly always.
  func admit(_ rows: [RecordRow]) -> Admission? {
    locked.withLock { locked in
      if locked.isEmpty { return nil }
      let now = clock.now()
      locked = locked.filter { $0.value.isTried || now < $0.value.due + Self.forgottenAfter }
      if locked.isEmpty { return nil }
      var admission = Admission(tenants: Set(locked.keys.map(\.tenant)))
      for (place, row) in rows.enumerated() where admission.tenants.contains(row.key.tenant) {
        let scopes = Scope.holding(row.key).filter { locked[$0] != nil }
        let isTried = scopes.allSatisfy { scope in
          admission.tried.contains(scope) || locked[scope]!.due <= now && !locked[scope]!.isTried
        }
        guard isTried else {
          admission.putOff.insert(place)
          continue
        }
        for scope in scopes where admission.tried.insert(scope).inserted { locked[scope]!.isTried = true }
      }
      return admission
    }
  }

  /// The rows have been tried, and those of these keys have waited in vain; nil where that is not known.
  func ended(_ admission: Admission?, waited: Set<RecordRow.Key>?) {
    if admission == nil, waited?.isEmpty ?? true { return }
    locked.withLock { locked in
      let stillLocked = Set((waited ?? []).flatMap(Scope.holding))
      for scope in admission?.tried ?? [] where locked[scope] != nil {
        if waited == nil {
          locked[scope]?.isTried = false
        } else if stillLocked.contains(scope) {
          putOff(scope, in: &locked)
        } else {
          locked[scope] = nil
        }
      }
      for key in waited ?? [] where Scope.holding(key).allSatisfy({ locked[$0] == nil }) {
        putOff(.key(key), in: &locked)
      }
    }
  }

  private func putOff(_ scope: Scope, in locked: inout [Scope: Locked]) {
    guard locked.count < scopesMax || locked[scope] != nil else { return }
    var entry = locked[scope] ?? Locked()
    entry.due = clock.now() + entry.backoff.nextPause()
    entry.isTried = false
    locked[scope] = entry
    guard let wider = scope.wider, locked[wider] == nil else { return }
    let narrower = locked.keys.filter { $0.wider == wider }
    guard narrower.count >= Self.narrowerMax else { return }
    for scope in narrower { locked[scope] = nil }
    putOff(wider, in: &locked)
  }

  /// How much is put off.
  var count: Int { locked.withLock { $0.count } }
}
