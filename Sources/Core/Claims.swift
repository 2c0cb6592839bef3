/// What a method needs of its caller.
public enum Scope: String, Sendable, CaseIterable {
  case record = "interactions:record"
  case view = "analytics:view"
}

/// A tenant's name, as tokens carry it: 1 to 128 bytes without control characters.
public struct Tenant: Hashable, Sendable, LosslessStringConvertible {
  public let description: String

  public init?(_ name: String) {
    guard (1...Limits.tenantBytesMax).contains(name.utf8.count),
      name.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control })
    else { return nil }
    self.description = name
  }

  public static func == (a: Tenant, b: Tenant) -> Bool { a.description.isExactly(b.description) }

  public func hash(into hasher: inout Hasher) {
    for byte in description.utf8 { hasher.combine(byte) }
  }
}

/// Who calls, as verified from the call's metadata. Never made from a request's body.
public struct Claims: Hashable, Sendable {
  public var tenant: Tenant
  /// The scopes the token grants, those unknown here among them.
  public var scopes: Set<String>

  public init(tenant: Tenant, scopes: Set<String>) {
    self.tenant = tenant
    self.scopes = scopes
  }
}
