import ArgumentParser
import Auth
import CommandSupport
import Core
import Foundation
import Logging
import Messages
import Postgres
import PrivateCluster
import RPC
import Service
import ServiceLifecycle
import Settings
import UnixSignals

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve until SIGTERM or SIGINT, then drain.",
    discussion: """
      Without --database-url it runs a private PostgreSQL in the folder --data names. Without a key it makes a secret \
      there. Each setting may also come from the environment, under the name that is given with it, or from a JSON file \
      (--config), under the flag's name. A flag overrides the environment, and the environment overrides the file.
      """)

  @OptionGroup var flags: ServerFlags

  func run() async throws {
    let settings = try await SettingSources(flags, environment: ProcessInfo.processInfo.environment)
    let logger = try settings.logger()
    let data = try settings.data()
    var configuration = try settings.server(data: data)
    let reflection =
      try settings.value(ServerSettings.reflection)
      ? Reflection(services: [MethodName.interactionService, HealthCheck.service]) : nil
    let leeway = try settings.value(ServerSettings.jwtLeeway)
    let (issuer, audience) = (
      try settings.value(ServerSettings.jwtIssuer), try settings.value(ServerSettings.jwtAudience)
    )
    let connections = try settings.connections()
    let preparedStatements = try settings.value(ServerSettings.preparedStatements)
    // What is wrong is told before anything is made.
    configuration.connectionsMax = try connectionsMax(beside: connections, logger)
    let databaseURL = try settings.value(ServerSettings.databaseURL)
    guard data != nil || databaseURL != nil else {
      throw CommandFailure("no database: give --data DIR for a private PostgreSQL or --database-url for another")
    }
    if data == nil || databaseURL != nil { _ = try settings.givenKeys() }
    let cluster = databaseURL == nil ? try data.map { try PrivateCluster(directory: $0, logger: logger) } : nil
    // After the folder's own lock, which says more of a server that runs already, and before anything is made.
    try configuration.checkAddresses()
    let verifier = await TokenVerifier(
      TokenVerifier.Configuration(
        keys: try settings.keys(data: data), issuer: issuer, audience: audience, leewaySeconds: leeway))
    guard let url = databaseURL ?? cluster?.url else { return }
    guard try await isStarted(cluster, url, preparedStatements, logger) else {
      await cluster?.stop()
      return
    }
    do {
      var storeConfiguration = PostgresStore.Configuration(url: url, connections: connections)
      storeConfiguration.preparedStatements = preparedStatements
      try await serve(
        store: PostgresStore(storeConfiguration, logger: logger), cluster: cluster, server: configuration, verifier,
        reflection, logger)
    } catch {
      await cluster?.stop()
      throw error
    }
  }

  /// As many as the process may have files for, beside those it needs itself.
  private func connectionsMax(beside connections: ConnectionBudget, _ logger: Logger) throws -> Int {
    let limit = DescriptorLimit.raise(postgresConnections: connections.total)
    guard let connectionsMax = limit.connectionsMax else { throw CommandFailure(limit.warning ?? "") }
    logger.info("the server may have \(limit.raised) files open; the limit was \(limit.atStart) at the start")
    if let warning = limit.warning { logger.warning("\(warning)") }
    return connectionsMax
  }

  /// Has the database run, with the schema in it; false when a signal to stop came before.
  private func isStarted(
    _ cluster: PrivateCluster?, _ url: String, _ preparedStatements: PreparedStatements, _ logger: Logger
  ) async throws -> Bool {
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask {
        try await cluster?.start()
        try await prepareDatabase(url, preparedStatements, logger)
        return true
      }
      group.addTask {
        for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) { return false }
        return true
      }
      do {
        let isStarted = try await group.next() ?? false
        group.cancelAll()
        return isStarted
      } catch {
        group.cancelAll()
        await Task { await cluster?.stop() }.value
        throw error
      }
    }
  }

  /// Refuses a database that a server cannot work with, and migrates any other. One that is only just starting is
  /// waited for.
  private func prepareDatabase(
    _ url: String, _ preparedStatements: PreparedStatements, _ logger: Logger
  ) async throws {
    let (check, migrator) = (
      DatabaseCheck(url: url, preparedStatements: preparedStatements, logger: logger),
      Migrator(url: url, logger: logger)
    )
    let lastTry = ContinuousClock.now + .seconds(30)
    while true {
      do {
        try await check.checkBeforeMigrating()
        if let notice = try await migrator.migrate().notice { logger.notice("\(notice)") }
        try await check.checkAfterMigrating()
        return
      } catch let failure as DatabaseCheck.Failure where failure.isConnectionLost && .now < lastTry {
        try await Task.sleep(for: .milliseconds(500))
      } catch let failure as Migrator.Failure where failure.isConnectionLost && .now < lastTry {
        try await Task.sleep(for: .milliseconds(500))
      }
    }
  }

  private func serve(
    store: PostgresStore, cluster: PrivateCluster?, server: ParleyServer.Configuration, _ verifier: TokenVerifier,
    _ reflection: Reflection?, _ logger: Logger
  ) async throws {
    let health = Health()
    let methods = store.methods + health.methods + (reflection?.methods ?? [])
    let dispatcher = Dispatcher(methods, verifier: verifier, logger: logger)
    let server = ParleyServer(server, dispatcher: dispatcher, health: health, logger: logger) { addresses in
      do {
        try printLine("parley \(Version.current) listens on \(addresses.map(\.description).joined(separator: " and "))")
      } catch {
        // It was only to be told; calls are answered all the same.
        logger.warning("\(error)")
      }
    }
    // Ended in reverse: the server drains while the store still writes, the store before the cluster.
    var services: [any Service] = [
      StoreService(store: store), HealthService(store: store, health: health, logger: logger), server,
    ]
    if let cluster { services.insert(ClusterService(cluster: cluster), at: 0) }
    let group = ServiceGroup(
      configuration: .init(
        services: services.map {
          .init(
            service: $0, successTerminationBehavior: .gracefullyShutdownGroup,
            failureTerminationBehavior: .gracefullyShutdownGroup)
        },
        gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    try await group.run()
  }
}

/// The store as a part of the process: works until shutdown, then writes what still waits.
private struct StoreService: Service {
  var store: PostgresStore

  func run() async throws {
    await withTaskCancellationOrGracefulShutdownHandler {
      await store.run()
    } onCancelOrGracefulShutdown: {
      store.close()
    }
  }
}

/// Looks whether the database is fit to serve, and lets health say so.
private struct HealthService: Service {
  var store: PostgresStore
  var health: Health
  var logger: Logger

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var readiness = Readiness()
      repeat {
        let wasReady = readiness.isReady
        let state = await store.databaseState()
        readiness.look(state)
        health.setDatabaseAway(!readiness.isReady)
        switch state {
        case .unfit(let reason, _) where wasReady && !readiness.isReady:
          logger.error("not ready: the database is not fit to serve", metadata: ["reason": "\(reason)"])
        case .fit where !wasReady: logger.notice("ready again: the database is fit to serve")
        default: break
        }
      } while (try? await Task.sleep(for: .seconds(1))) != nil
    }
  }
}

/// The private PostgreSQL as a part of the process: kept alive until shutdown, then stopped.
private struct ClusterService: Service {
  var cluster: PrivateCluster

  func run() async throws {
    await cancelWhenGracefulShutdown { await cluster.keepAlive() }
    // Also when this task was cancelled, which would take the program that stops PostgreSQL with it.
    await Task { await cluster.stop() }.value
  }
}

struct MintToken: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token",
    abstract: "Mint a token for development, signed with a server's secret.",
    discussion: "Whoever has the secret can read and record as any tenant; in production an issuer of your own signs.")

  @Option(help: "Whom the token speaks for.")
  var tenant: String

  @Option(
    help: "What it allows, separated by spaces: \(Scope.allCases.map(\.rawValue).joined(separator: " and ")).")
  var scope = "analytics:view interactions:record"

  @Option(help: "How long it is good for: a number and s, m, h or d.")
  var ttl = "1h"

  @Option(help: "The server's secret file.")
  var jwtSecretFile: String?

  @Option(
    name: .customLong("data"), help: ArgumentHelp("The server's data folder, which holds its secret.", valueName: "dir")
  )
  var directory: String?

  @Option(help: "The token's iss.")
  var issuer: String?

  @Option(help: "The token's aud.")
  var audience: String?

  func run() async throws {
    guard Tenant(tenant) != nil else {
      throw CommandFailure("--tenant: give 1 to \(Limits.tenantBytesMax) bytes without control characters")
    }
    let known = Scope.allCases.map(\.rawValue)
    if let unknown = scope.split(separator: " ").first(where: { !known.contains(String($0)) }) {
      throw CommandFailure(
        "--scope: \(unknown) is no scope of Parley; give \(known.joined(separator: " or ")), or both")
    }
    guard let lifetime = lifetime() else {
      throw CommandFailure("--ttl \(ttl): give a number and s, m, h or d, such as 90m, up to 3650d")
    }
    if directory == "" { throw CommandFailure("--data is empty: give the server's folder") }
    guard let file = jwtSecretFile.map(SecretFile.init(path:)) ?? directory.map(SecretFile.init(data:)) else {
      throw CommandFailure("no secret: give --jwt-secret-file, or --data with the server's folder")
    }
    let payload = TokenPayload(
      tenant: tenant, scope: scope,
      expires: Date(timeIntervalSince1970: (Date() + lifetime).timeIntervalSince1970.rounded()), issuer: issuer,
      audience: audience)
    try printLine(try await payload.signed(secret: try file.secret()))
  }

  private func lifetime() -> TimeInterval? {
    let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
    guard let unit = ttl.last.flatMap({ units[$0] }), let count = UInt32(ttl.dropLast()), count > 0,
      Double(count) * unit <= 3650 * 86_400
    else { return nil }
    return Double(count) * unit
  }
}
