import Auth
import Core
import Foundation
import Logging
import Messages
import RPC
import Service
import ServiceLifecycle
import TestSupport
import Testing

/// A server of a test's own, on a Unix socket over a database of its own.
struct GRPCServer: Sendable {
  let address: Address
  let health: Health
  let database: TestDatabase
  /// Of the tenant "acme", with every scope.
  let token: String
  private let group: ServiceGroup
  private let running: Task<Void, any Error>

  static func with<R>(
    unreadResponseTimeout: Duration? = nil, grpc: GRPCConnectionConfiguration = .init(),
    _ body: (GRPCServer) async throws -> R
  ) async throws -> R {
    // Reads that wait for a lock wait all together, however long it takes a busy machine to look at them.
    try await TestDatabase.withStore(keyedReadMax: .seconds(600)) { store, database in
      let secret = Array("a secret for tests, 32 bytes and more".utf8)
      let path = "\(FileManager.default.temporaryDirectory.path)/g\(UUID().uuidString.prefix(13))"
      let health = Health()
      let (listening, continuation) = AsyncStream.makeStream(of: Address.self)
      var configuration = ParleyServer.Configuration(addresses: [.unix(path: path)])
      configuration.grpc = grpc
      if let unreadResponseTimeout { configuration.unreadResponseTimeout = unreadResponseTimeout }
      let server = ParleyServer(
        configuration,
        dispatcher: Dispatcher(
          store.methods + health.methods,
          verifier: await TokenVerifier(.init(keys: [.hs256(secret: secret)])), logger: .silent),
        health: health, logger: .silent
      ) { continuation.yield($0[0]) }
      let group = ServiceGroup(
        configuration: .init(
          services: [.init(service: server, successTerminationBehavior: .gracefullyShutdownGroup)], logger: .silent))
      let running = Task { try await group.run() }
      guard let address = await listening.first(where: { _ in true }) else {
        throw GRPCTestFailure("it does not listen")
      }
      let payload = TokenPayload(
        tenant: "acme", scope: "analytics:view interactions:record", expires: Date(timeIntervalSinceNow: 3600))
      let fixture = GRPCServer(
        address: address, health: health, database: database, token: try await payload.signed(secret: secret),
        group: group, running: running)
      do {
        let result = try await body(fixture)
        try await fixture.stop()
        return result
      } catch {
        try? await fixture.stop()
        throw error
      }
    }
  }

  func connect() async throws -> HTTP2Client { try await HTTP2Client(to: address) }

  /// The metadata of a caller who may do everything.
  var authorized: [(String, String)] { [("authorization", "Bearer \(token)")] }

  /// Asks for graceful shutdown and does not wait for it.
  func startDraining() async { await group.triggerGracefulShutdown() }

  /// Waits until `run()` has returned.
  func ended() async throws { try await running.value }

  func stop() async throws {
    await startDraining()
    try await ended()
  }

  /// A session that keeps the table of interactions, with one in it to ask for, for itself until it is gone.
  func lockTable() async throws -> DatabaseSession {
    let recorded = try await connect().call(
      path(RecordInteraction.method), RecordInteraction(interaction: .sample()).encoded(), authorized)
    guard recorded.code == 0 else { throw GRPCTestFailure("recording fails: \(recorded)") }
    let session = try database.session()
    try session.sql("BEGIN; LOCK TABLE parley.interactions IN ACCESS EXCLUSIVE MODE")
    return session
  }

  /// Waits until so many of the server's reading statements, or its owner's, wait for a lock.
  func waitUntilStatementsWait(_ count: Int, of purpose: String = "reader") async throws {
    let deadline = ContinuousClock.now + .seconds(120)
    while try waitingStatements(of: purpose) != count {
      guard .now < deadline else {
        throw GRPCTestFailure("\(try waitingStatements(of: purpose)) statements wait, not \(count)")
      }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  private func waitingStatements(of purpose: String) throws -> Int {
    try database.sql(
      """
      SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'parley \(purpose)'
      AND state = 'active' AND wait_event_type = 'Lock'
      """
    ).count
  }
}

/// The path of a method of the service.
func path(_ method: MethodName) -> String { method.path }

let healthWatch = "/grpc.health.v1.Health/Watch"
let healthCheck = "/grpc.health.v1.Health/Check"
