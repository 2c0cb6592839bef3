import Core
import Glibc

/// How many files the process may have open, and so how many connections: each takes one.
public struct DescriptorLimit: Sendable {
  /// As the process was started.
  public let atStart: Int
  public let raised: Int
  /// How many connections to PostgreSQL there may be.
  let postgresConnections: Int

  /// Raises the limit as far as the process may.
  public static func raise(postgresConnections: Int) -> DescriptorLimit {
    var limit = rlimit()
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(resource, &limit) == 0 else {
      return DescriptorLimit(atStart: 1024, raised: 1024, postgresConnections: postgresConnections)
    }
    let atStart = limit.rlim_cur
    limit.rlim_cur = limit.rlim_max
    if setrlimit(resource, &limit) != 0 { limit.rlim_cur = atStart }
    return DescriptorLimit(
      atStart: Int(clamping: atStart), raised: Int(clamping: limit.rlim_cur), postgresConnections: postgresConnections)
  }

  /// How many connections it has room for, for what PostgreSQL, files and pipes need is left to them; nil where it
  /// has none.
  public var connectionsMax: Int? {
    let left = raised - reserved
    return left > 0 ? min(left, Limits.connectionsMax) : nil
  }

  /// What an operator should know; nil where there is room for all.
  public var warning: String? {
    guard connectionsMax != Limits.connectionsMax else { return nil }
    let needed = Limits.connectionsMax + reserved
    let what = connectionsMax.map { "allows \($0) connections instead of \(Limits.connectionsMax)" }
    return "the limit of \(raised) open files \(what ?? "allows no connections"); raise it to \(needed) for all "
      + "(ulimit -Hn, or LimitNOFILE of systemd)"
  }

  private var reserved: Int {
    Limits.descriptorsReserved + Limits.descriptorsPerPostgresConnection * postgresConnections
  }
}
