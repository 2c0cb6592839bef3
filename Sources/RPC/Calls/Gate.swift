public import Core

/// A request that the gate has let through: its caller holds the scope, its fields meet every rule.
///
/// Only `Gate` makes one, no other module can, and the service and the store take nothing else: an unchecked request
/// does not compile.
public struct Admitted<Checked: Sendable>: Sendable {
  public let tenant: Tenant
  public let request: Checked

  @usableFromInline
  init(tenant: Tenant, request: Checked) {
    self.tenant = tenant
    self.request = request
  }
}

/// A caller whose token has a scope. Only `Gate` can make one.
public struct Authorized: Sendable {
  public let claims: Claims
  public let scope: Scope

  fileprivate init(claims: Claims, scope: Scope) {
    self.claims = claims
    self.scope = scope
  }
}

/// The one way into the service.
public struct Gate: Sendable {
  public init() {}

  public func authorize(_ claims: Claims, for scope: Scope) throws(RPCError) -> Authorized {
    guard claims.scopes.contains(scope.rawValue) else {
      throw RPCError(
        .permissionDenied, .scopeMissing, "the token lacks the scope \(scope.rawValue)",
        metadata: ["scope": scope.rawValue])
    }
    return Authorized(claims: claims, scope: scope)
  }

  @inlinable
  public func admit<R: Request>(
    _ request: R, from caller: Authorized, at now: Timestamp
  ) throws(RPCError) -> Admitted<R.Checked> {
    precondition(caller.scope == R.scope, "the method of \(R.self) was registered with another scope than it needs")
    let tenant = caller.claims.tenant
    return Admitted(tenant: tenant, request: try request.checked(tenant: tenant, now: now))
  }

  public func admit<R: Request>(
    _ request: R, from claims: Claims, at now: Timestamp
  ) throws(RPCError) -> Admitted<R.Checked> {
    try admit(request, from: try authorize(claims, for: R.scope), at: now)
  }
}
