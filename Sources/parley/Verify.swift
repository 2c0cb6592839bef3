import ArgumentParser
import CommandSupport
import Core
import Logging
import Service

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare every rollup and posting list with the interactions.",
    discussion: """
      It checks one day after the other, and also compares the day's statistics with those that plain SQL computes. \
      Servers may run meanwhile. The exit status is 1 if something differs, if a stale hour could not be compared \
      (--repair rebuilds it), or if rows belong to no tenant.
      """)

  @OptionGroup var database: DatabaseOptions

  @Option(help: "Check only this tenant (all tenants).")
  var tenant: String?

  @Option(help: "From this time on, by whole hours: RFC 3339, or a date (UTC).", transform: Timestamp.init(argument:))
  var from: Timestamp?

  @Option(help: "Before this time.", transform: Timestamp.init(argument:))
  var to: Timestamp?

  @Flag(help: "Rebuild what differs from the interactions.")
  var repair = false

  func run() async throws {
    let url = try database.url()
    let only = try tenant.map { text in
      guard let tenant = Tenant(text) else {
        throw CommandFailure("--tenant: give 1 to \(Limits.tenantBytesMax) bytes without control characters")
      }
      return tenant
    }
    if let from, let to, from >= to { throw CommandFailure("--from is not before --to") }
    let logger = Logger.ofCommand(level: .error)
    let verifier = Verifier(url: url, logger: logger)
    do {
      if let notice = try await Migrator(url: url, logger: logger).check().notice { say(notice) }
      try await verify(only, verifier)
    } catch let failure as Verifier.Failure {
      throw CommandFailure(failure.description)
    } catch let failure as Migrator.Failure {
      throw CommandFailure(failure.description)
    }
  }

  private func verify(_ only: Tenant?, _ verifier: Verifier) async throws {
    var (days, interactions, waitingHours) = (0, Int64(0), 0)
    var differing: [Verifier.Day] = []
    try await verifier.verify(only, from: from, to: to) { day in
      days += 1
      interactions += day.interactions
      waitingHours += day.waitingHours
      if !day.differences.isEmpty {
        LiveLine.clear()
        try show(day)
      }
      if !day.agrees { differing.append(day) }
      LiveLine.show(
        "days: \(days), interactions: \(interactions), at \(printable(day.tenant.description)) \(day.start.rfc3339)")
    }
    LiveLine.clear()
    if waitingHours > 0 {
      try printLine("not compared: \(waitingHours) stale hours, which a server or --repair rebuilds")
    }
    var open = 0
    for day in differing where repair {
      let repaired = try await verifier.repair(day)
      if repaired.agrees {
        try printLine("repaired: \(printable(day.tenant.description)) \(day.start.rfc3339)")
      } else {
        try show(repaired)
        open += 1
      }
    }
    if !repair { open = differing.count }
    let unknown = only == nil ? try await unknownNumbers(verifier) : 0
    try printLine("days: \(days), interactions: \(interactions), days that differ: \(open)")
    if open + unknown > 0 { throw ExitCode.failure }
  }

  /// - Returns: how many numbers without a tenant are left.
  private func unknownNumbers(_ verifier: Verifier) async throws -> Int {
    var left = 0
    for unknown in try await verifier.unknownNumbers() {
      if repair, !unknown.hasInteractions {
        try await verifier.repair(unknown)
        try printLine("repaired: number \(unknown.number), which no tenant and no interaction has")
        continue
      }
      left += 1
      try printLine(
        "unknown: number \(unknown.number) has \(unknown.hasInteractions ? "interactions" : "rollups or posting lists"), and no tenant has the number"
      )
    }
    if left > 0 {
      try printLine(
        """
        A restore or a failover lost the tenants of these numbers, and nobody is shown what they hold. Where NUMBER's
        tenant is known, give it back:
          UPDATE parley.interactions SET tenant = parley.add_tenant('NAME') WHERE tenant = NUMBER;
        Otherwise remove it:
          DELETE FROM parley.interactions WHERE tenant = NUMBER;
        Then run parley verify --repair.
        """)
    }
    return left
  }

  private func show(_ day: Verifier.Day) throws {
    for difference in day.differences {
      try printLine("differs: \(printable(day.tenant.description)) \(difference.time.rfc3339): \(difference.what)")
    }
  }
}
