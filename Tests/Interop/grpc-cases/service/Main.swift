import Core
import Glibc
import Logging
import Messages
import RPC
import ServiceLifecycle
import UnixSignals

/// Serves `TestService` on a free port of 127.0.0.1, prints it, and ends at SIGTERM.
@main
enum Main {
  static func main() async throws {
    let health = Health()
    let logger = Logger(label: "service") { StreamLogHandler.standardError(label: $0) }
    let dispatcher = Dispatcher(TestService().methods, interceptors: [])
    let server = ParleyServer(
      .init(addresses: [.tcp(host: "127.0.0.1", port: 0)]), dispatcher: dispatcher, health: health,
      logger: logger
    ) { addresses in
      for case .tcp(_, let port) in addresses { print(port) }
      fflush(nil)
    }
    try await ServiceGroup(services: [server], gracefulShutdownSignals: [.sigterm], logger: logger).run()
  }
}
