@_exported public import Core
import Messages
import NIOCore
import NIOPosix
import Synchronization

/// A client of Parley over the framed protocol: a few connections, any number of calls at once.
///
/// Every call is safe to retry, for an interaction gets its id before the first try; so a call that
/// finds the service away (`UNAVAILABLE`, a lost connection) or busy (`OVERLOADED`) is tried again until its time is
/// up.
/// Errors are `RPCError`s, with the details the service sent.
public final class ParleyClient: Sendable {
  public struct Configuration: Sendable {
    public var address: Address
    /// Asked before each try, so that a token may be renewed.
    public var token: @Sendable () async throws(RPCError) -> String
    /// How many connections share the calls.
    public var connections: Int
    /// How long a call may take, with all its tries.
    public var timeout: Duration
    /// How much of that it goes on trying where there is no connection to be had, as nobody listens; all
    /// of it unless told.
    public var absenceTimeout: Duration
    /// Told, before a call is tried again, why it failed.
    public var onRetry: @Sendable (RPCError) -> Void = { _ in }

    public init(
      address: Address, connections: Int = 1, timeout: Duration = .seconds(30), absenceTimeout: Duration? = nil,
      token: @escaping @Sendable () async throws(RPCError) -> String
    ) {
      self.address = address
      self.connections = connections
      self.timeout = timeout
      self.absenceTimeout = absenceTimeout ?? timeout
      self.token = token
    }
  }

  private let configuration: Configuration
  private let connections: [ClientConnection]
  private let turn = Atomic<Int>(0)
  private let isClosed = Atomic<Bool>(false)

  public init(_ configuration: Configuration) {
    self.configuration = configuration
    self.connections = (0..<max(configuration.connections, 1)).map { _ in
      ClientConnection(
        to: configuration.address, timeout: min(configuration.absenceTimeout, .seconds(5)),
        group: MultiThreadedEventLoopGroup.singleton)
    }
  }

  public convenience init(address: Address, token: String) {
    self.init(Configuration(address: address) { () throws(RPCError) in token })
  }

  /// Records one interaction; returning means committed. A draft without id and request id is given
  /// an id here.
  public func record(_ interaction: InteractionDraft, requestID: String = "") async throws(RPCError) -> Recorded {
    let draft = requestID.isEmpty ? interaction.withID() : interaction
    return try await call(RecordInteraction(interaction: draft, requestID: requestID))
  }

  /// Records up to 1,000 interactions; each has its own result, in order.
  public func record(_ interactions: [InteractionDraft]) async throws(RPCError) -> [Result<Recorded, RPCError>] {
    try await call(RecordInteractions(interactions: interactions.map { .success($0.withID()) }))
  }

  public func list(_ request: ListInteractions) async throws(RPCError) -> InteractionPage {
    try await call(request)
  }

  public func get(_ id: String) async throws(RPCError) -> Interaction {
    try await call(GetInteraction(id: id))
  }

  public func stats(_ request: GetStats) async throws(RPCError) -> StatsReport {
    try await call(request)
  }

  /// Closes the connections; calls under way fail, and so do later ones.
  public func close() async {
    isClosed.store(true, ordering: .relaxed)
    for connection in connections { await connection.close() }
  }

  private func call<R: Request & WireMessage, Answer: WireMessage>(_ request: R) async throws(RPCError) -> Answer {
    let payload = request.encoded()
    let deadline = ContinuousClock.now + configuration.timeout
    var pause = Duration.milliseconds(50)
    var absentSince: ContinuousClock.Instant?
    while true {
      let begun = ContinuousClock.now
      do throws(RPCError) {
        return try Answer(encoded: try await attempt(R.method, payload, until: deadline))
      } catch {
        absentSince = error.reason == .connectionLost ? absentSince ?? begun : nil
        let lastTry = min(deadline, absentSince.map { $0 + configuration.absenceTimeout } ?? deadline)
        let wait = max(error.retryAfter ?? .zero, pause * Double.random(in: 0.5...1))
        guard error.mayPass, !isClosed.load(ordering: .relaxed), .now + wait < lastTry else {
          throw R.scope == .view ? error.ofRead : error
        }
        configuration.onRetry(error)
        guard (try? await Task.sleep(for: wait)) != nil else { throw error }
        pause = min(pause * 2, .seconds(2))
      }
    }
  }

  private func attempt(
    _ method: MethodName, _ payload: [UInt8], until deadline: ContinuousClock.Instant
  ) async throws(RPCError) -> [UInt8] {
    guard !isClosed.load(ordering: .relaxed) else { throw .connectionLost("this client was closed") }
    var metadata = Metadata()
    metadata.add("authorization", "Bearer \(try await configuration.token())")
    let call = Call(
      service: method.service, method: method.name, metadata: metadata, timeout: deadline - .now, payload: payload)
    let place = turn.add(1, ordering: .relaxed).oldValue
    return try await connections[place % connections.count].reply(to: call).get()
  }
}

extension InteractionDraft {
  /// With an id, so that a retry finds itself.
  fileprivate func withID() -> InteractionDraft {
    guard id.isEmpty, createdAt.map({ $0.milliseconds >= 0 }) ?? true else { return self }
    var draft = self
    draft.id = InteractionID(at: createdAt ?? .now).description
    return draft
  }
}

extension RPCError {
  /// What is told of a call that may have recorded something is not true of a read.
  fileprivate var ofRead: RPCError {
    var error = self
    switch reason {
    case .deadlineExceeded:
      error.message = "the deadline passed before the read was done; nothing was changed: try again"
    case .databaseUnavailable: error.message = "the database is not available; nothing was changed: try again"
    default: break
    }
    return error
  }

  /// The service is away, or busy and says when to come again. (A message that is too large stays so.)
  fileprivate var mayPass: Bool { code == .unavailable || (code == .resourceExhausted && retryAfter != nil) }
}
