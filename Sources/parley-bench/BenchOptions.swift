import ArgumentParser
import Auth
import Bench
import CommandSupport
import Core
import Foundation
import Messages
import ParleyClient
import RPC

/// The protocol as a flag names it.
enum TransportArgument: String, ExpressibleByArgument {
  case ttrpc, grpc

  var transport: LoadProtocol { self == .ttrpc ? .ttrpc : .grpc }
}

/// Which server is measured, as which tenants.
struct BenchTarget: ParsableArguments {
  @Option(help: "The server: unix:PATH or HOST:PORT (or PARLEY_ADDRESS, or DIR/parley.sock with --data DIR).")
  var address: String?

  @Option(help: "The token of the one tenant (or PARLEY_TOKEN, which --data and --jwt-secret-file override).")
  var token: String?

  @Option(help: "A file with the token.")
  var tokenFile: String?

  @Option(
    name: .customLong("data"),
    help: ArgumentHelp("The server's data folder: mint tokens for --tenants tenants with its secret.", valueName: "dir")
  )
  var directory: String?

  @Option(help: "The server's secret file: mint tokens for --tenants tenants with it.")
  var jwtSecretFile: String?

  @Option(help: "How many tenants.")
  var tenants = 1

  @Option(help: "The beginning of the tenants' names; a number follows it.")
  var tenantPrefix = "bench-"

  @Option(help: "The tenants' shares of the calls, such as 25,25,25,25 (by Zipf's law).")
  var tenantShares: String?

  func resolvedAddress() throws -> Address {
    let fromData = directory.map { "unix:" + URL(fileURLWithPath: $0).standardizedFileURL.path + "/parley.sock" }
    guard let text = address ?? fromData ?? ProcessInfo.processInfo.environment["PARLEY_ADDRESS"] else {
      throw CommandFailure("no server: give --address, PARLEY_ADDRESS or --data, \(Address.form)")
    }
    guard let address = Address(text) else {
      throw CommandFailure("the address \(text): allowed is \(Address.form)")
    }
    return address
  }

  /// One for each tenant.
  ///
  /// - Parameter count: how many tenants there must be, whatever --tenants says.
  func tokens(count: Int? = nil) async throws -> [String] {
    let tenants = count ?? tenants
    guard (1...10_000).contains(tenants) else {
      throw CommandFailure("--tenants \(tenants): allowed is 1 to 10000")
    }
    if let token = try givenToken() {
      guard tenants == 1 else {
        throw CommandFailure(
          "\(count == nil ? "--tenants " : "tenants ")\(tenants): a token is for one tenant; give --data or --jwt-secret-file instead"
        )
      }
      return [token]
    }
    guard let file = jwtSecretFile.map(SecretFile.init(path:)) ?? directory.map(SecretFile.init(data:)) else {
      throw CommandFailure("no token: give --data, --jwt-secret-file, --token-file, --token or PARLEY_TOKEN")
    }
    let secret = try file.secret()
    let expires = Date(timeIntervalSince1970: (Date().timeIntervalSince1970 + 86_400).rounded())
    guard Tenant("\(tenantPrefix)\(tenants)") != nil else {
      throw CommandFailure("--tenant-prefix: allowed are \(Limits.tenantBytesMax - 5) bytes without control characters")
    }
    var tokens: [String] = []
    for number in 0..<tenants {
      let payload = TokenPayload(
        tenant: "\(tenantPrefix)\(number)", scope: Scope.allCases.map(\.rawValue).joined(separator: " "),
        expires: expires)
      tokens.append(try await payload.signed(secret: secret))
    }
    return tokens
  }

  private func givenToken() throws -> String? {
    if let tokenFile {
      return try ReadableFile(tokenFile, as: "--token-file \(tokenFile)").text()
        .trimmingCharacters(in: .whitespacesAndNewlines)
    }
    if let token { return token }
    return directory == nil && jwtSecretFile == nil ? ProcessInfo.processInfo.environment["PARLEY_TOKEN"] : nil
  }

  func shares() throws -> Shares {
    guard let tenantShares else { return .zipf(tenants) }
    let weights = tenantShares.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) ?? -1 }
    guard weights.count == tenants, weights.allSatisfy({ $0 >= 0 }), weights.contains(where: { $0 > 0 }) else {
      throw CommandFailure(
        "--tenant-shares \(tenantShares): allowed are \(tenants) numbers from 0 on, separated by commas, one for each of --tenants"
      )
    }
    return Shares(weights)
  }
}

/// How the calls are made.
struct BenchPace: ParsableArguments {
  @Option(name: .customLong("protocol"), help: "ttrpc or grpc.")
  var transport = TransportArgument.ttrpc

  @Option(help: "Make this many connections.")
  var connections = 16

  @Option(help: "Keep this many calls under way on each connection.")
  var inFlight = 64

  @Option(help: "Measure for this many seconds (10).")
  var duration: Double?

  @Option(help: "Make this many calls, or record this many interactions, instead.")
  var count: Int?

  @Option(
    help: "Make this many calls a second, even if the server cannot keep up; latency counts from when one was due.")
  var rate: Double?

  @Option(help: "Begin to measure after this many seconds (1; 0 with --count and --arrivals).")
  var warmup: Double?

  @Option(help: "The deadline of a call, in seconds.")
  var timeout = 30

  @Option(help: "The seed of random contents; the same seed makes the same contents.")
  var seed: UInt64 = 1

  func plan(_ address: Address, batch: Int = 1, arrivals: Arrivals? = nil, speedup: Double = 1) throws -> LoadPlan {
    try check(arrivals)
    var plan = LoadPlan(address: address)
    plan.transport = transport.transport
    plan.connections = connections
    plan.callsInFlight = inFlight
    plan.timeoutSeconds = timeout
    plan.count = count.map { ($0 + batch - 1) / batch }
    plan.seconds = duration ?? (count == nil && arrivals == nil ? 10 : nil)
    plan.warmupSeconds = warmup ?? (count == nil && arrivals == nil ? 1 : 0)
    if let rate { plan.pace = .rate(rate) }
    if let arrivals {
      plan.pace = .arrivals(offsetsNanoseconds: arrivals.offsetsNanoseconds.map { Int64(Double($0) / speedup) })
    }
    return plan
  }

  private static let countMax = 1_000_000_000_000

  private func check(_ arrivals: Arrivals?) throws {
    func require(_ holds: Bool, _ name: String, _ value: Any, _ allowed: String) throws {
      if !holds { throw CommandFailure("--\(name) \(value): allowed is \(allowed)") }
    }
    try require(
      (1...Limits.connectionsMax).contains(connections), "connections", connections, "1 to \(Limits.connectionsMax)")
    let calls = 1...Limits.callsInFlightPerConnectionMax
    try require(calls.contains(inFlight), "in-flight", inFlight, "1 to \(calls.upperBound)")
    try require((1...Int(Limits.callSecondsMax)).contains(timeout), "timeout", timeout, "1 to \(Limits.callSecondsMax)")
    if let duration { try require(duration > 0 && duration <= 86_400, "duration", duration, "above 0 and up to 86400") }
    if let count { try require((1...Self.countMax).contains(count), "count", count, "1 to \(Self.countMax)") }
    if let rate { try require(rate >= 0.001 && rate <= 10_000_000, "rate", rate, "0.001 to 10000000") }
    if let warmup { try require(warmup >= 0 && warmup <= 3600, "warmup", warmup, "0 to 3600") }
    if duration != nil, count != nil { throw CommandFailure("--duration and --count: give one of them") }
    if rate != nil, arrivals != nil { throw CommandFailure("--rate and --arrivals: give one of them") }
  }
}

/// How the figures are shown.
struct BenchOutput: ParsableArguments {
  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(
    help: ArgumentHelp(
      "A file with the output of bench limits --json: also print this run's figures over those.", valueName: "file")
  )
  var limits: String?

  func reference() throws -> ReferenceReport? {
    guard let limits else { return nil }
    guard let content = FileManager.default.contents(atPath: limits) else {
      throw CommandFailure("--limits \(limits): it cannot be read")
    }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
      return try decoder.decode(ReferenceReport.self, from: content)
    } catch {
      throw CommandFailure("--limits \(limits): it is not what parley bench limits --json prints")
    }
  }
}
