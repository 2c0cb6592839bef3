import Domain
import Wire

/// The gRPC methods of a Parley server: the interaction service, health, and reflection where asked for.
struct ServiceMethods: GRPCMethods {
  let dispatcher: Dispatcher
  let health: Health
  let reflection: Reflection?

  func method(service: String, name: String) -> GRPCMethod? {
    switch service {
    case Method.service where Method(rawValue: name) != nil, HealthCheck.service where name == "Check":
      .unary { [dispatcher] in await dispatcher.reply(to: $0) }
    case HealthCheck.service where name == "Watch":
      .streaming(requestsMax: 1) { [health] _, requests, responses in
        await health.watch(requests, responses)
      }
    case Reflection.services[0] where name == "ServerReflectionInfo",
      Reflection.services[1] where name == "ServerReflectionInfo":
      reflection.map { reflection in
        .streaming { _, requests, responses in await reflection.answer(requests, responses) }
      }
    default: nil
    }
  }
}
