import Core
import Messages
import Synchronization

/// Whether the server is fit to serve, for load balancers and orchestrators (`grpc.health.v1.Health`):
/// not while it drains, nor while PostgreSQL is away.
///
/// The service named `liveness` is another question, whether the process works: it is SERVING as long as it is
/// answered, for a new process would serve no better.
public final class Health: Sendable {
  private struct State {
    var isDatabaseAway = false
    var isDraining = false
    var watchers: [UInt64: AsyncStream<Bool>.Continuation] = [:]
    var nextWatcher: UInt64 = 0

    var isServing: Bool { !isDatabaseAway && !isDraining }
  }

  private let state = Mutex(State())

  public init() {}

  public var isServing: Bool { state.withLock { $0.isServing } }

  public func setDatabaseAway(_ isAway: Bool) { change { $0.isDatabaseAway = isAway } }
  func setDraining() { change { $0.isDraining = true } }

  private func change(_ change: (inout State) -> Void) {
    state.withLock { state in
      let before = state.isServing
      change(&state)
      // Watchers end with the drain, whatever they were told before.
      guard state.isServing != before || state.isDraining else { return }
      for watcher in state.watchers.values { watcher.yield(state.isServing) }
    }
  }

  /// What it is now, and whenever it changes.
  private func changes() -> AsyncStream<Bool> {
    let (stream, continuation) = AsyncStream.makeStream(of: Bool.self, bufferingPolicy: .bufferingNewest(1))
    let watcher = state.withLock { state in
      state.nextWatcher += 1
      state.watchers[state.nextWatcher] = continuation
      continuation.yield(state.isServing)
      return state.nextWatcher
    }
    continuation.onTermination = { [weak self] _ in
      self?.state.withLock { _ = $0.watchers.removeValue(forKey: watcher) }
    }
    return stream
  }

  /// As methods of `grpc.health.v1.Health`. Those who ask have no token.
  public var methods: [Method] {
    [
      Method(
        MethodName(service: HealthCheck.service, name: "Check"), scope: nil,
        .unary { [self] _, message, completion in
          completion.complete(Result { () throws(RPCError) in Response(try check(message.bytes)) })
          return {}
        }),
      Method(
        MethodName(service: HealthCheck.service, name: "Watch"), scope: nil,
        .streaming(.responses) { [self] _, requests, responses in await watch(requests, responses) }),
    ]
  }

  func check(_ payload: [UInt8]) throws(RPCError) -> [UInt8] {
    let service = try HealthCheck.service(inRequest: payload)
    guard HealthCheck.services.contains(service) else {
      throw RPCError(.notFound, .serviceUnknown, "there is no service \(RPCError.excerpt(of: service)) here")
    }
    return HealthCheck.response(isServing || service == HealthCheck.liveness ? .serving : .notServing)
  }

  func watch(_ requests: RequestStream, _ responses: ResponseStream) async -> Response {
    do throws(RPCError) {
      guard let request = try await requests.next() else { return Response(.cancelled) }
      let service = try HealthCheck.service(inRequest: request.bytes)
      let isKnown = HealthCheck.services.contains(service)
      if !isKnown { try await responses.send(HealthCheck.response(.serviceUnknown)) }
      var last: Bool?
      for await isServing in changes() {
        let told = isServing || service == HealthCheck.liveness
        if isKnown, told != last {
          try await responses.send(HealthCheck.response(told ? .serving : .notServing))
          last = told
        }
        // A drain waits for its calls; a watch would wait for ever. It ends with the word that the drain sends.
        if !isServing, state.withLock({ $0.isDraining }) { return Response(.draining) }
      }
      return Response(.cancelled)
    } catch {
      return Response(error)
    }
  }
}
