import Domain
import Glibc
import Logging
import Server
import ServiceLifecycle
import UnixSignals
import Wire

/// Serves `TestService` on a free port of 127.0.0.1, prints it, and ends at SIGTERM.
@main
enum Main {
  static func main() async throws {
    let health = Health()
    let logger = Logger(label: "service") { StreamLogHandler.standardError(label: $0) }
    let dispatcher = Dispatcher(
      verifier: await TokenVerifier(.init(keys: [])), service: InteractionService(store: NoStore()), health: health,
      logger: logger)
    let server = ParleyServer(
      .init(addresses: [.tcp(host: "127.0.0.1", port: 0)]), dispatcher: dispatcher, health: health,
      methods: TestService(), logger: logger
    ) { addresses in
      for case .tcp(_, let port) in addresses { print(port) }
      fflush(nil)
    }
    try await ServiceGroup(services: [server], gracefulShutdownSignals: [.sigterm], logger: logger).run()
  }
}

/// Nothing is recorded here.
private struct NoStore: InteractionStore {
  private let away = RPCError.databaseUnavailable(cause: "there is none")

  func record(
    _: [Interaction], for _: Tenant, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (RecordOutcome) -> Void
  ) -> Cancellation {
    let refusal = away
    executor.execute { answer(.failure(refusal)) }
    return {}
  }
  func interaction(
    _: InteractionID, of _: Tenant, on executor: any AnswerExecutor,
    answer: @escaping @Sendable (Result<Interaction?, RPCError>) -> Void
  ) -> Cancellation {
    let refusal = away
    executor.execute { answer(.failure(refusal)) }
    return {}
  }
  func page(_: ListInteractions.Checked, of _: Tenant) async throws(RPCError) -> (
    interactions: [Interaction], more: Bool
  ) {
    throw away
  }
  func stats(_: GetStats.Checked, of _: Tenant) async throws(RPCError) -> StatsReport { throw away }
}
