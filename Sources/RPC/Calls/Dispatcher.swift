public import Core
import Messages

/// All methods of a server, and the steps that their calls take.
public final class Dispatcher: Sendable {
  private let methods: [String: [String: Method]]
  /// In their order: observe, authenticate, authorise. What a connection limits comes after them, and then the handler.
  let interceptors: [any Interceptor]

  /// - Parameter methods: each with a name of its own.
  public init(_ methods: [Method], interceptors: [any Interceptor]) {
    self.methods = Dictionary(grouping: methods, by: \.name.service).mapValues { methods in
      Dictionary(uniqueKeysWithValues: methods.map { ($0.name.name, $0) })
    }
    self.interceptors = interceptors
  }

  public func method(service: String, name: String) throws(RPCError) -> Method {
    guard let method = methods[service]?[name] else { throw .methodUnknown(service: service, method: name) }
    return method
  }
}
