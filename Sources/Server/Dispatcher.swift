public import Domain
public import Logging
public import Wire

/// From a call to its reply, whatever protocol it came by: who calls, what is asked, may they, do it.
public struct Dispatcher: Sendable {
  private let verifier: TokenVerifier
  private let service: InteractionService
  private let health: Health
  private let logger: Logger
  private let gate = Gate()

  public init(verifier: TokenVerifier, service: InteractionService, health: Health, logger: Logger) {
    self.verifier = verifier
    self.service = service
    self.health = health
    self.logger = logger
  }

  public func reply(to call: Call) async -> Reply {
    do throws(RPCError) {
      return .success(try await answer(call))
    } catch {
      log(error, of: call)
      return .failure(error)
    }
  }

  private func answer(_ call: Call) async throws(RPCError) -> [UInt8] {
    // Health is asked by those who have no token.
    if call.service == HealthCheck.service, call.method == "Check" { return try health.check(call.payload) }
    guard call.service == Method.service, let method = Method(rawValue: call.method) else {
      throw .methodUnknown(service: call.service, method: call.method)
    }
    // Before the payload is looked at: strangers decode nothing.
    let claims = try await verifier.claims(from: call.metadata)
    switch method {
    case .recordInteraction: return try await service.record(admit(RecordInteraction.self, call, claims)).encoded()
    case .recordInteractions: return try await service.record(admit(RecordInteractions.self, call, claims)).encoded()
    case .listInteractions: return try await service.list(admit(ListInteractions.self, call, claims)).encoded()
    case .getInteraction: return try await service.get(admit(GetInteraction.self, call, claims)).encoded()
    case .getStats: return try await service.stats(admit(GetStats.self, call, claims)).encoded()
    }
  }

  private func admit<R: Request & WireMessage>(
    _ type: R.Type, _ call: Call, _ claims: Claims
  ) throws(RPCError) -> Admitted<R.Checked> {
    try gate.admit(R(encoded: call.payload), from: claims, at: .now)
  }

  /// What PostgreSQL said, and what should not happen, is for the log alone. What any stranger can
  /// cause is not worth a line of it.
  private func log(_ error: RPCError, of call: Call) {
    guard let cause = error.cause else { return }
    let level: Logger.Level =
      switch error.code {
      case .internal: .error
      case .unauthenticated, .deadlineExceeded, .cancelled: .debug
      default: .warning
      }
    logger.log(
      level: level, "a call failed",
      metadata: ["method": "\(call.method)", "code": "\(error.code.name)", "cause": "\(cause)"])
  }
}
