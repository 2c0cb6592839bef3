import Domain
import NIOCore
import NIOPosix
import Synchronization
import Wire

/// One connection of a client, opened when a call needs it and again after it was lost.
final class ClientConnection: Sendable {
  private enum State {
    case closed
    case opening(EventLoopFuture<any Channel>)
    case open(any Channel)
  }

  private let address: Address
  private let group: any EventLoopGroup
  private let state = Mutex(State.closed)

  init(to address: Address, group: any EventLoopGroup) {
    self.address = address
    self.group = group
  }

  func reply(to call: Call) async -> Reply {
    let channel: any Channel
    do {
      channel = try await open()
    } catch {
      return .failure(.connectionLost("no connection to \(address): \(error)"))
    }
    let promise = channel.eventLoop.makePromise(of: Reply.self)
    let ticket = ClientHandler.Ticket(call: call, promise: promise)
    return await withTaskCancellationHandler {
      channel.writeAndFlush(ticket).whenFailure { error in
        promise.succeed(.failure(.connectionLost("the connection to \(self.address) was lost: \(error)")))
      }
      return (try? await promise.futureResult.get()) ?? .failure(.cancelled)
    } onCancel: {
      channel.pipeline.fireUserInboundEventTriggered(ClientHandler.Abandon(promise: promise))
    }
  }

  func close() async {
    let state = state.withLock { state in
      defer { state = .closed }
      return state
    }
    switch state {
    case .closed: break
    case .opening(let future): try? await future.get().close()
    case .open(let channel): try? await channel.close()
    }
  }

  private func open() async throws -> any Channel {
    enum Step {
      case use(any Channel)
      case wait(EventLoopFuture<any Channel>)
      case connect(EventLoopPromise<any Channel>)
    }
    let step: Step = state.withLock { state in
      switch state {
      case .open(let channel) where channel.isActive: return .use(channel)
      case .opening(let future): return .wait(future)
      case .open, .closed:
        let promise = group.any().makePromise(of: (any Channel).self)
        state = .opening(promise.futureResult)
        return .connect(promise)
      }
    }
    switch step {
    case .use(let channel): return channel
    case .wait(let future): return try await future.get()
    case .connect(let promise):
      do {
        let channel = try await connect()
        state.withLock { $0 = .open(channel) }
        promise.succeed(channel)
        return channel
      } catch {
        state.withLock { $0 = .closed }
        promise.fail(error)
        throw error
      }
    }
  }

  private func connect() async throws -> any Channel {
    let bootstrap = ClientBootstrap(group: group)
      .connectTimeout(.seconds(5))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(ClientHandler())
        }
      }
    switch address {
    case .unix(let path): return try await bootstrap.connect(unixDomainSocketPath: path).get()
    case .tcp(let host, let port):
      return try await bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .connect(host: host, port: port).get()
    }
  }
}

/// Moves bytes between a channel and its `ClientSession`, and replies to those who wait for them.
final class ClientHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = Ticket
  typealias OutboundOut = ByteBuffer

  /// A call on its way, and who waits for its reply.
  struct Ticket: Sendable {
    var call: Call
    var promise: EventLoopPromise<Reply>
  }

  /// Nobody waits for that reply any more.
  struct Abandon: Sendable {
    var promise: EventLoopPromise<Reply>
  }

  private struct Waiting {
    var promise: EventLoopPromise<Reply>
    var deadline: Scheduled<Void>?
  }

  private var session = ClientSession()
  private var waiting: [UInt32: Waiting] = [:]

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let ticket = unwrapOutboundIn(data)
    do throws(RPCError) {
      let (stream, frame) = try session.open(ticket.call)
      let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
      let deadline = ticket.call.timeout.map { timeout in
        context.eventLoop.scheduleTask(in: TimeAmount(timeout)) {
          bound.value.finish(stream, .failure(.deadlineExceeded))
        }
      }
      waiting[stream] = Waiting(promise: ticket.promise, deadline: deadline)
      context.write(wrapOutboundOut(ByteBuffer(bytes: frame)), promise: promise)
      // The next call opens another connection.
      if session.isExhausted { context.close(promise: nil) }
    } catch {
      ticket.promise.succeed(.failure(error))
      promise?.succeed()
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    unwrapInboundIn(data).withUnsafeReadableBytes { session.receive($0) }
    while let event = session.next() {
      switch event {
      case .reply(let reply, let stream): finish(stream, reply)
      case .fatal(let error):
        failAll(error)
        context.close(promise: nil)
        return
      }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    failAll(.connectionLost("the server closed the connection"))
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    failAll(.connectionLost("\(error)"))
    context.close(promise: nil)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard let abandon = event as? Abandon else { return context.fireUserInboundEventTriggered(event) }
    let stream = waiting.first { $0.value.promise.futureResult === abandon.promise.futureResult }?.key
    if let stream { finish(stream, .failure(.cancelled)) }
  }

  private func finish(_ stream: UInt32, _ reply: Reply) {
    guard let waiting = waiting.removeValue(forKey: stream) else { return }
    waiting.deadline?.cancel()
    waiting.promise.succeed(reply)
  }

  private func failAll(_ error: RPCError) {
    for stream in Array(waiting.keys) { finish(stream, .failure(error)) }
  }
}

extension RPCError {
  /// A call whose fate is unknown for want of a connection. Every call is safe to retry.
  static func connectionLost(_ message: String) -> RPCError {
    RPCError(.unavailable, .connectionLost, message)
  }
}
