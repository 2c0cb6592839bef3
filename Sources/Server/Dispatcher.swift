public import Domain
public import Logging
import Wire

/// From a call to its reply, whatever protocol it came by: who calls, what is asked, may they, do it.
public final class Dispatcher: Sendable {
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
        return .working(for: nil) { [self] in await verifyAndDo(method, call) }
      }
      call.peer?.authenticated()
      return try rest(of: method, call.payload, claims)
    } catch {
      return .replied(refusal(of: call.method, error))
    }
  }

  private func verifyAndDo(_ method: Method, _ call: Call) async -> Reply {
    do throws(RPCError) {
      let claims = try await verifier.claims(from: call.metadata)
      call.peer?.authenticated()
      switch try rest(of: method, call.payload, claims) {
      case .replied(let reply): return reply
      case .working(_, let work): return await work()
      case .answering(_, let work):
        do throws(RPCError) { return .success(try await awaited(work)) } catch { return .failure(error) }
      }
    } catch {
      return refusal(of: call.method, error)
    }
  }

  /// What is left to do once the gate has let the request through.
  private func rest(of method: Method, _ payload: [UInt8], _ claims: Claims) throws(RPCError) -> CallProgress<Reply> {
    switch method {
    case .recordInteraction:
      let admitted = try admit(RecordInteraction.self, payload, claims)
      return .answering(for: claims.tenant) { [self] executor, answer in
        service.record(admitted, on: executor) { answer(self.reply($0, method)) }
      }
    case .recordInteractions:
      let admitted = try admit(RecordInteractions.self, payload, claims)
      return .answering(for: claims.tenant) { [self] executor, answer in
        service.record(admitted, on: executor) { answer(self.reply($0, method)) }
      }
    case .listInteractions:
      let admitted = try admit(ListInteractions.self, payload, claims)
      return working(method, for: claims.tenant) { [self] () throws(RPCError) in try await service.list(admitted) }
    case .getInteraction:
      let admitted = try admit(GetInteraction.self, payload, claims)
      return .answering(for: claims.tenant) { [self] executor, answer in
        service.get(admitted, on: executor) { answer(self.reply($0, method)) }
      }
    case .getStats:
      let admitted = try admit(GetStats.self, payload, claims)
      return working(method, for: claims.tenant) { [self] () throws(RPCError) in try await service.stats(admitted) }
    }
  }

  private func working(
    _ method: Method, for tenant: Tenant, _ work: @escaping @Sendable () async throws(RPCError) -> some WireMessage
  ) -> CallProgress<Reply> {
    .working(for: tenant) { [self] in
      do throws(RPCError) {
        return .success(try await work().encoded())
      } catch {
        return refusal(of: method.rawValue, error)
      }
    }
  }

  private func reply(_ result: Result<some WireMessage, RPCError>, _ method: Method) -> Reply {
    switch result {
    case .success(let answer): .success(answer.encoded())
    case .failure(let error): refusal(of: method.rawValue, error)
    }
  }

  private func refusal(of method: String, _ error: RPCError) -> Reply {
    log(error, of: method)
    return .failure(error)
  }

  private func admit<R: Request & WireMessage>(
    _ type: R.Type, _ payload: [UInt8], _ claims: Claims
  ) throws(RPCError) -> Admitted<R.Checked> {
    try gate.admit(R(encoded: payload), from: claims, at: .now)
  }

  /// What PostgreSQL said, and what should not happen, is for the log alone. What any stranger can
  /// cause is not worth a line of it.
  private func log(_ error: RPCError, of method: String) {
    guard let cause = error.cause else { return }
    let level: Logger.Level =
      switch error.code {
      case .internal: .error
      case .unauthenticated, .deadlineExceeded, .cancelled: .debug
      default: .warning
      }
    logger.log(
      level: level, "a call failed",
      metadata: ["method": "\(method)", "code": "\(error.code.name)", "cause": "\(cause)"])
  }
}

extension Call {
  /// What it takes of its connection's memory, as far as its method tells. Records have small responses, so that
  /// recording never waits for a peer that does not read.
  var size: CallSize {
    let responseBytesMax =
      switch Method(rawValue: method) {
      case .listInteractions: Limits.pageBytesMax
      case .getStats: 1024 * 1024
      case .getInteraction: Limits.customerMessageBytesMax + Limits.agentResponseBytesMax
      case .recordInteraction, .recordInteractions, nil: 0
      }
    return CallSize(bytes: bytes, responseBytesMax: responseBytesMax)
  }
}
