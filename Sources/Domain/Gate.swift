/// A request that the gate has let through: its caller holds the scope, its fields meet every rule.
///
/// Only `Gate` can make one, and the service and the store take nothing else: an unchecked request
/// does not compile.
public struct Admitted<Checked: Sendable>: Sendable {
  public let tenant: Tenant
  public let request: Checked

  fileprivate init(tenant: Tenant, request: Checked) {
    self.tenant = tenant
    self.request = request
  }
}

/// A request as a caller sends it, which knows the scope it needs and the rules it must meet.
public protocol Request: Sendable {
  associatedtype Checked: Sendable

  static var scope: Scope { get }

  /// The request with every rule checked and every default filled in.
  func checked(tenant: Tenant, now: Timestamp) throws(RPCError) -> Checked
}

/// The one way into the service.
public struct Gate: Sendable {
  public init() {}

  public func admit<R: Request>(
    _ request: R, from claims: Claims, at now: Timestamp
  ) throws(RPCError) -> Admitted<R.Checked> {
    try require(R.scope, of: claims)
    return Admitted(tenant: claims.tenant, request: try request.checked(tenant: claims.tenant, now: now))
  }

  private func require(_ scope: Scope, of claims: Claims) throws(RPCError) {
    guard claims.scopes.contains(scope.rawValue) else {
      throw RPCError(
        .permissionDenied, .scopeMissing, "the token lacks the scope \(scope.rawValue)",
        metadata: ["scope": scope.rawValue])
    }
  }
}
