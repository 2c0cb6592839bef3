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

  public static let recordInteraction = MethodName(service: interactionService, name: "RecordInteraction")
  public static let recordInteractions = MethodName(service: interactionService, name: "RecordInteractions")
  public static let listInteractions = MethodName(service: interactionService, name: "ListInteractions")
  public static let getInteraction = MethodName(service: interactionService, name: "GetInteraction")
  public static let getStats = MethodName(service: interactionService, name: "GetStats")
}
