import Domain
import Wire

/// The gRPC methods of a Parley server: the interaction service, health, and reflection where asked for.
struct ServiceMethods: GRPCMethods {
  private var methods: [String: [String: GRPCMethod]] = [:]

  init(dispatcher: Dispatcher, health: Health, reflection: Reflection?) {
    let unary = GRPCMethod.unary { dispatcher.begin($0) }
    methods[Method.service] = Dictionary(uniqueKeysWithValues: Method.allCases.map { ($0.rawValue, unary) })
    methods[HealthCheck.service] = [
      "Check": unary,
      "Watch": .streaming(requestsMax: 1) { _, requests, responses in await health.watch(requests, responses) },
    ]
    guard let reflection else { return }
    for service in Reflection.services {
      methods[service] = [
        "ServerReflectionInfo": .streaming { _, requests, responses in await reflection.answer(requests, responses) }
      ]
    }
  }

  func method(service: String, name: String) -> GRPCMethod? { methods[service]?[name] }
}
