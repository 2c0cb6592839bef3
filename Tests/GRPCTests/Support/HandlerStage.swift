import Core
import Logging
import Messages
import NIOCore
import NIOEmbedded
import NIOExtras
import Testing

@testable import RPC

/// A `GRPCHandler` over the real HTTP/2, with a client on the other side and no sockets between: bytes move and
/// time passes when the test says so.
final class HandlerStage {
  let loop = EmbeddedEventLoop()
  let server: EmbeddedChannel
  var client: RawHTTP2Peer
  let methods = StubMethods()
  let memory: CallMemory
  let responses: ResponseMemory
  /// Of this connection alone.
  let table = ConnectionTable(listeners: 1, connectionsMax: 1, undecidedMax: 1)
  private(set) var connection: AcceptedConnection!
  private(set) weak var handler: GRPCHandler?

  /// - Parameter begins: whether HTTP/2 has begun on both sides.
  init(
    grpc: GRPCConnectionConfiguration = .init(), memory: CallMemory = CallMemory(),
    responses: ResponseMemory = ResponseMemory(), requests: RequestMemory = RequestMemory(),
    client: RawHTTP2Peer = RawHTTP2Peer(), begins: Bool = true
  ) throws {
    self.memory = memory
    self.responses = responses
    server = EmbeddedChannel(loop: loop)
    self.client = client
    try server.connect(to: SocketAddress(unixDomainSocketPath: "/none")).wait()
    try addHandlers(grpc, requests)
    if begins { move() }
  }

  private func addHandlers(_ grpc: GRPCConnectionConfiguration, _ requests: RequestMemory) throws {
    let connection = try #require(table.add(server, listener: 0))
    self.connection = connection
    let unread = UnreadResponses(memory: responses, loop: loop) { [weak server] _ in server?.close(promise: nil) }
    let dispatcher = Dispatcher(methods.methods, interceptors: [])
    let runner = CallRunner(
      interceptors: [], memory: memory, unread: unread, turns: LoopTurns(loop, large: LargeRequests { $0() }))
    let edge = ConnectionEdge()
    let handler = GRPCHandler(
      dispatcher: dispatcher, runner: runner, unread: unread,
      unfinished: UnfinishedRequests(memory: requests, connection: connection), edge: edge, connection: connection,
      configuration: grpc, unreadResponseTimeout: .seconds(60), loop: loop,
      logger: Logger(label: "none") { _ in SwiftLogNoOpLogHandler() })
    let pipeline = server.pipeline.syncOperations
    try pipeline.addHandler(edge)
    try pipeline.addHandler(handler)
    self.handler = handler
  }

  /// Carries bytes both ways until none are left.
  func move() {
    repeat {
      moveToServer()
      moveToClient()
    } while !client.outgoing.isEmpty
  }

  func moveToServer() {
    let bytes = client.takeOutgoing()
    if !bytes.isEmpty, server.isActive { _ = try? server.writeInbound(ByteBuffer(bytes: bytes)) }
    loop.run()
  }

  func moveToClient() {
    loop.run()
    while let bytes = try? server.readOutbound(as: ByteBuffer.self) {
      #expect(throws: Never.self) { try client.receive(bytes) }
      loop.run()
    }
  }

  func pass(_ time: TimeAmount) {
    loop.advanceTime(by: time)
    move()
  }

  /// The server begins to drain.
  func quiesce() {
    server.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
  }

  /// Whether another connection makes this one give its place up.
  func makesRoom() -> Bool { table.add(EmbeddedChannel(loop: loop), listener: 0) != nil }

  // MARK: The client

  /// What has come on a stream.
  func received(on stream: Int) -> RawHTTP2Peer.Stream { client.streams[stream] ?? .init() }

  /// The client calls. Nothing moves yet.
  func call(_ method: String, on stream: Int, _ message: [UInt8] = [], end: Bool = true) {
    client.open("/stub/\(method)", on: stream)
    client.send(message, on: stream, end: end)
  }
}

/// Methods whose calls the test answers: `Wait`; and `Stream`, which sends back what it gets.
final class StubMethods: @unchecked Sendable {
  /// In the order the calls began.
  private(set) var waiting: [Completion<Response>] = []
  private(set) var givenUp = 0

  var methods: [Method] {
    [
      Method(
        MethodName(service: "stub", name: "Wait"), scope: nil,
        .unary { [self] _, _, completion in
          waiting.append(completion)
          return { [self] in givenUp += 1 }
        }),
      Method(
        MethodName(service: "stub", name: "Stream"), scope: nil,
        .streaming(.both) { _, requests, responses in await Self.echo(requests, responses) }),
    ]
  }

  func answer(_ number: Int, _ message: [UInt8] = []) { waiting[number].complete(.success(Response(message))) }

  private static func echo(_ requests: RequestStream, _ responses: ResponseStream) async -> Response {
    do throws(RPCError) {
      while let request = try await requests.next() { try await responses.send(request.bytes) }
      return Response()
    } catch {
      return Response(error)
    }
  }
}
