public import Domain
public import Logging
import Wire

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

  /// Goes as far as it can without waiting for anything: most refusals, and health.
  func begin(_ call: Call) -> CallProgress<Reply> {
    do throws(RPCError) {
      // Health is asked by those who have no token.
      if call.service == HealthCheck.service, call.method == "Check" {
        return .replied(.success(try health.check(call.payload)))
      }
      guard call.service == Method.service, let method = Method(rawValue: call.method) else {
        throw .methodUnknown(service: call.service, method: call.method)
      }
      // Before the payload is looked at: strangers decode nothing.
      guard let claims = try verifier.knownClaims(from: call.metadata) else {
        return .working {
          await reply(to: call) { () throws(RPCError) in
            let rest = try work(method, call, try await verifier.claims(from: call.metadata))
            return try await rest()
          }
        }
      }
      let rest = try work(method, call, claims)
      return .working { await reply(to: call, rest) }
    } catch {
      return .replied(refusal(of: call, error))
    }
  }

  private typealias Work = @Sendable () async throws(RPCError) -> [UInt8]

  private func reply(to call: Call, _ work: Work) async -> Reply {
    do throws(RPCError) {
      return .success(try await work())
    } catch {
      return refusal(of: call, error)
    }
  }

  private func refusal(of call: Call, _ error: RPCError) -> Reply {
    log(error, of: call)
    return .failure(error)
  }

  /// What is left to do once the gate has let the request through.
  private func work(_ method: Method, _ call: Call, _ claims: Claims) throws(RPCError) -> Work {
    switch method {
    case .recordInteraction:
      let admitted = try admit(RecordInteraction.self, call, claims)
      return { [service] () throws(RPCError) in try await service.record(admitted).encoded() }
    case .recordInteractions:
      let admitted = try admit(RecordInteractions.self, call, claims)
      return { [service] () throws(RPCError) in try await service.record(admitted).encoded() }
    case .listInteractions:
      let admitted = try admit(ListInteractions.self, call, claims)
      return { [service] () throws(RPCError) in try await service.list(admitted).encoded() }
    case .getInteraction:
      let admitted = try admit(GetInteraction.self, call, claims)
      return { [service] () throws(RPCError) in try await service.get(admitted).encoded() }
    case .getStats:
      let admitted = try admit(GetStats.self, call, claims)
      return { [service] () throws(RPCError) in try await service.stats(admitted).encoded() }
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
