public import Core
import Messages
public import RPC

/// Finds out who calls, by the token in the call's metadata. Before the request is looked at: strangers decode nothing.
public struct Authentication: Interceptor {
  private let verifier: TokenVerifier

  public init(verifier: TokenVerifier) {
    self.verifier = verifier
  }

  public func intercept(_ method: Method, _ context: inout CallContext) throws(RPCError) -> Interception {
    guard method.scope != nil else { return .goOn }
    guard let claims = try verifier.knownClaims(from: context.metadata) else {
      return .wait { [verifier] (context) throws(RPCError) in
        var context = context
        let claims = try await verifier.claims(from: context.metadata)
        context.caller = .authenticated(claims)
        context.peer?.authenticated(as: claims.tenant)
        return context
      }
    }
    context.caller = .authenticated(claims)
    context.peer?.authenticated(as: claims.tenant)
    return .goOn
  }
}
