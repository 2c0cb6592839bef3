public import Core
public import Logging
public import Messages
import Synchronization

/// A step that every call of every protocol and shape takes before its method's handler, in the order the dispatcher
/// has them.
public protocol Interceptor: Sendable {
  /// Lets the call go on, with what this adds to its context; throws to refuse it.
  func intercept(_ method: Method, _ context: inout CallContext) throws(RPCError) -> Interception
}

/// A step that is also told how calls end.
public protocol CallObserver: Interceptor {
  /// The call was answered. (One that its caller gave up is not.)
  func answered(_ method: Method, _ context: CallContext, _ reply: Reply)

  /// The work of a call has ended with this reply, which nobody waits for any longer.
  func abandoned(_ method: Method, _ context: CallContext, _ reply: Reply)
}

public enum Interception: Sendable {
  case goOn
  /// Nobody can tell yet: this does, with the context to go on with.
  case wait(@Sendable (CallContext) async throws(RPCError) -> CallContext)
}

extension Interceptor {
  public func intercept(_ method: Method, _ context: inout CallContext) throws(RPCError) -> Interception { .goOn }
}

/// Logs calls that failed for a reason that operators should know.
public final class FailureLog: CallObserver {
  private let logger: Logger
  private let tally = Mutex(FailureTally())

  public init(logger: Logger) {
    self.logger = logger
  }

  public func answered(_ method: Method, _ context: CallContext, _ reply: Reply) { log(method, reply) }
  public func abandoned(_ method: Method, _ context: CallContext, _ reply: Reply) { log(method, reply) }

  /// What PostgreSQL said, and what should not happen, is for the log alone. What any stranger can cause is not worth a
  /// line of it.
  private func log(_ method: Method, _ reply: Reply) {
    guard case .failure(let error) = reply, let cause = error.cause else { return }
    let kind = FailureTally.Kind(method: method.name.name, code: error.code, cause: cause)
    guard let untoldCount = tally.withLock({ $0.count(kind, at: .now) }) else { return }
    let level: Logger.Level =
      switch error.code {
      case .internal: .error
      case .unauthenticated, .deadlineExceeded, .cancelled: .debug
      default: .warning
      }
    var metadata: Logger.Metadata = [
      "method": "\(method.name.name)", "code": "\(error.code.name)", "cause": "\(cause)",
    ]
    if untoldCount > 0 { metadata["alike since the last line"] = "\(untoldCount)" }
    logger.log(level: level, "a call failed", metadata: metadata)
  }
}

/// Refuses callers whose token lacks the method's scope.
public struct Authorization: Interceptor {
  private let gate = Gate()

  public init() {}

  public func intercept(_ method: Method, _ context: inout CallContext) throws(RPCError) -> Interception {
    guard let scope = method.scope else { return .goOn }
    guard let claims = context.claims else { throw .internal(cause: "the call was not authenticated") }
    context.caller = .authorized(try gate.authorize(claims, for: scope))
    return .goOn
  }
}
