import CMessages
public import Core

/// The messages of `grpc.health.v1.Health`.
public enum HealthCheck {
  public static let service = "grpc.health.v1.Health"
  /// The name by which it is asked whether the process works, whatever the database does.
  public static let liveness = "liveness"
  /// The names it answers for: the server as a whole, the service, and the process.
  public static let services: Set<String> = ["", MethodName.interactionService, liveness]

  public enum Status: UInt32, Sendable {
    case serving = 1
    case notServing = 2
    case serviceUnknown = 3
  }

  public static func service(inRequest payload: [UInt8]) throws(RPCError) -> String {
    try MessageKind.healthCheckRequest.decode(payload) { (request) throws(RPCError) in
      try text(request.service, "service")
    }
  }

  public static func response(_ status: Status) -> [UInt8] {
    let arena = Arena()
    let message = arena.make(.healthCheckResponse)
    message.pointee.status = .init(status.rawValue)
    return arena.encode(.healthCheckResponse, message)
  }
}
