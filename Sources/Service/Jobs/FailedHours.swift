import Core
import Postgres

/// Hours whose rebuild failed, such as by a page that PostgreSQL cannot read: each is put off for a growing while, and costs
/// its tenant's other hours nothing. A value that decides; `RebuildJob` does what it says.
///
/// One transaction rebuilds several hours. Where it fails nobody knows which of them it was, so the tenant's next pieces
/// have half as many hours each time, down to one, which is put off. From then on they have twice as many each time, around
/// those that are put off.
struct FailedHours {
  private struct Hour {
    var backoff = Backoff(from: .seconds(1), to: .seconds(60))
    var due = Duration.zero
  }

  private struct Tenant {
    var hours: [Int32: Hour] = [:]
    var hoursMax = Int.max
    /// Until then nothing of it is looked at.
    var restsUntil = Duration.zero

    var except: StaleHours { hours.keys.reduce(into: StaleHours()) { $0.insert($1..<$1 + 1) } }
  }

  /// How long a tenant rests of which all stale hours have failed; new ones wait for no longer.
  private static let rest = Duration.seconds(1)

  private let hoursMax: Int
  private var tenants: [TenantKey: Tenant] = [:]

  /// - Parameter hoursMax: of how many hours of a tenant it is known that they failed.
  init(hoursMax: Int = Limits.failedHoursMax) {
    self.hoursMax = hoursMax
  }

  /// Those that are to be left alone for now.
  func resting(at now: Duration) -> [TenantKey] { tenants.filter { $0.value.restsUntil > now }.map(\.key) }

  /// What to rebuild next of a tenant: one that failed and is due again, by itself, or others.
  func nextPiece(of tenant: TenantKey, at now: Duration) -> RebuildPiece {
    guard let failed = tenants[tenant] else { return RebuildPiece() }
    if let hour = failed.hours.filter({ $0.value.due <= now }).keys.min() {
      return RebuildPiece(within: hour..<hour + 1)
    }
    return RebuildPiece(except: failed.except, hoursMax: failed.hoursMax)
  }

  /// Hours of a tenant are rebuilt, or not stale any more.
  mutating func ended(_ hours: Range<Int32>, of tenant: TenantKey) {
    guard var failed = tenants[tenant] else { return }
    failed.hours = failed.hours.filter { !hours.contains($0.key) }
    if failed.hoursMax < Int.max { failed.hoursMax = failed.hoursMax > Int.max / 2 ? .max : 2 * failed.hoursMax }
    tenants[tenant] = failed.hours.isEmpty && failed.hoursMax == .max ? nil : failed
  }

  /// - Returns: whether there is something else to try of the tenant; false where too many of its hours failed.
  mutating func failed(_ hours: Range<Int32>, of tenant: TenantKey, at now: Duration) -> Bool {
    guard tenants[tenant] != nil || tenants.count < Limits.tenantsPutOffMax else { return false }
    var failed = tenants[tenant] ?? Tenant()
    defer { tenants[tenant] = failed }
    guard hours.count == 1 else {
      failed.hoursMax = hours.count / 2
      return true
    }
    guard failed.hours[hours.lowerBound] != nil || failed.hours.count < hoursMax else { return false }
    var hour = failed.hours[hours.lowerBound] ?? Hour()
    hour.due = now + hour.backoff.nextPause()
    failed.hours[hours.lowerBound] = hour
    return true
  }

  /// Nothing that is stale of a tenant is of that piece: one that failed has been rebuilt by others, or all that is left
  /// is put off.
  mutating func found(nothingOf piece: RebuildPiece, of tenant: TenantKey, at now: Duration) {
    if piece.except.isEmpty { ended(piece.within, of: tenant) } else { tenants[tenant]?.restsUntil = now + Self.rest }
  }
}
