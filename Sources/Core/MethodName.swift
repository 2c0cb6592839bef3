/// A method as calls name it.
public struct MethodName: Hashable, Sendable {
  /// "parley.v1.InteractionService"
  public var service: String
  /// "GetInteraction"
  public var name: String

  public init(service: String, name: String) {
    self.service = service
    self.name = name
  }

  /// "/parley.v1.InteractionService/GetInteraction", as gRPC has it.
  public var path: String { "/\(service)/\(name)" }
}

extension MethodName {
  public static let interactionService = "parley.v1.InteractionService"

  /// Of Parley's own service. Each request names its method (`Request.method`).
  init(_ name: String) {
    self.init(service: Self.interactionService, name: name)
  }
}
