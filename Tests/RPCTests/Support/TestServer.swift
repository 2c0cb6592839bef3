import Auth
import Core
import Foundation
import Glibc
import Logging
import Messages
import RPC
import Service
import ServiceLifecycle
import TestSupport
import Testing

/// A server of a test's own: listening on a Unix socket and on a port of 127.0.0.1, over a database of
/// its own, gone when the test is over.
struct TestServer: Sendable {
  let running: RunningServer
  let store: PostgresStore
  let database: TestDatabase
  /// Of the tenant "acme", with every scope.
  let token: String

  var unix: Address { running.addresses[0] }
  var tcp: Address { running.addresses[1] }

  /// - Parameter keyedReadMax: how long a read may take before it waits for the connection of those that scan rows.
  static func with<R>(
    keyedReadMax: Duration? = nil, configure: (inout ParleyServer.Configuration) -> Void = { _ in },
    _ body: (TestServer) async throws -> R
  ) async throws -> R {
    try await TestDatabase.withStore(keyedReadMax: keyedReadMax) { store, database in
      try await withFolder { folder in
        let running = try await RunningServer.start(
          [.unix(path: "\(folder)/s"), .tcp(host: "127.0.0.1", port: 0)], store: store,
          configure: configure)
        let server = TestServer(
          running: running, store: store, database: database, token: try await signedToken(of: "acme"))
        do {
          let result = try await body(server)
          try await running.stop()
          return result
        } catch {
          try? await running.stop()
          throw error
        }
      }
    }
  }

  func connect() throws -> RawConnection { try RawConnection(to: unix) }

  /// How many interactions there are, of whatever tenant.
  func interactionCount() throws -> Int {
    Int(try database.sql("SELECT count(*) FROM parley.interactions")[0][0])!
  }

  /// Records through a connection of its own and answers with the id.
  @discardableResult
  func record(_ draft: InteractionDraft = .sample()) async throws -> InteractionID {
    let recorded: Recorded = try await connect().answer(
      RecordInteraction.method, RecordInteraction(interaction: draft), token)
    return recorded.id
  }
}

/// A server at work until it is stopped, over any store.
final class RunningServer: Sendable {
  let addresses: [Address]
  private let group: ServiceGroup
  private let running: Task<Void, any Error>

  private init(addresses: [Address], group: ServiceGroup, running: Task<Void, any Error>) {
    self.addresses = addresses
    self.group = group
    self.running = running
  }

  /// Answers once it listens; throws what `run()` throws when it cannot.
  static func start(
    _ addresses: [Address], socketMode: UInt32 = 0o660, store: PostgresStore = noStore,
    configure: (inout ParleyServer.Configuration) -> Void = { _ in }
  ) async throws -> RunningServer {
    var configuration = ParleyServer.Configuration(addresses: addresses, socketMode: socketMode)
    configure(&configuration)
    let (listening, continuation) = AsyncThrowingStream.makeStream(of: [Address].self)
    let verifier = await TokenVerifier(.init(keys: [.hs256(secret: testSecret)]))
    let health = Health()
    let methods = store.methods + health.methods
    let server = ParleyServer(
      configuration, dispatcher: Dispatcher(methods, verifier: verifier, logger: .silent), health: health,
      logger: .silent
    ) { continuation.yield($0) }
    let group = ServiceGroup(
      configuration: .init(
        services: [.init(service: server, successTerminationBehavior: .gracefullyShutdownGroup)], logger: .silent))
    let running = Task {
      do {
        try await group.run()
        continuation.finish()
      } catch {
        continuation.finish(throwing: error)
        throw error
      }
    }
    for try await bound in listening {
      return RunningServer(addresses: bound, group: group, running: running)
    }
    throw TestFailure("the server ended before it listened")
  }

  /// Asks for graceful shutdown and does not wait for it.
  func startDraining() async {
    await group.triggerGracefulShutdown()
  }

  /// Waits until `run()` has returned.
  func ended() async throws {
    try await running.value
  }

  func stop() async throws {
    await startDraining()
    try await ended()
  }
}

/// For servers of which nothing is asked: no connection is made before the first call.
let noStore = PostgresStore(.init(url: "host=/nonexistent dbname=none"), logger: .silent)

struct TestFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// A folder with a name short enough for sockets, gone afterwards.
func withFolder<R>(_ body: (String) async throws -> R) async throws -> R {
  var template = Array("\(FileManager.default.temporaryDirectory.path)/p.XXXXXX".utf8CString)
  guard mkdtemp(&template) != nil else { throw TestFailure("no temporary folder: \(errno)") }
  let folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  return try await body(folder)
}

/// Waits until the condition holds, a bounded time.
func eventually(
  _ what: String, within limit: Duration = .seconds(120), sourceLocation: SourceLocation = #_sourceLocation,
  _ condition: () async throws -> Bool
) async throws {
  let deadline = ContinuousClock.now + limit
  while try await !condition() {
    guard .now < deadline else {
      Issue.record("not within \(limit): \(what)", sourceLocation: sourceLocation)
      throw TestFailure(what)
    }
    try await Task.sleep(for: .milliseconds(5))
  }
}

/// Runs the attack against each address of a server; then a connection that was there before it, and a
/// new one, must work.
func surviving(
  sourceLocation: SourceLocation = #_sourceLocation,
  _ attack: (TestServer, Address) async throws -> Void
) async throws {
  try await TestServer.with { server in
    for address in [server.unix, server.tcp] {
      let witness = try RawConnection(to: address)
      try await witness.expectService(as: server.token, sourceLocation: sourceLocation)
      try await attack(server, address)
      try await witness.expectService(as: server.token, sourceLocation: sourceLocation)
      try await RawConnection(to: address).expectService(as: server.token, sourceLocation: sourceLocation)
    }
  }
}
