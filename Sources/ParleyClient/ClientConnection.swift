import Core
import Foundation
import Messages
import NIOCore
import NIOPosix
import Synchronization

/// One connection of a client, opened when a call needs it and again after it was lost.
final class ClientConnection: Sendable {
  private enum State {
    case closed
    case opening(EventLoopFuture<any Channel>)
    case open(any Channel)
  }

  private let address: Address
  private let timeout: Duration
  private let group: any EventLoopGroup
  private let state = Mutex(State.closed)

  /// - Parameter timeout: how long a peer may take to accept a connection.
  init(to address: Address, timeout: Duration, group: any EventLoopGroup) {
    self.address = address
    self.timeout = timeout
    self.group = group
  }

  func reply(to call: Call) async -> Reply {
    let answer = PendingResponse()
    let loop = group.any()
    let deadline = call.timeout.map { timeout in
      loop.scheduleTask(in: TimeAmount(timeout)) { answer.give(.failure(.deadlineExceeded)) }
    }
    defer { deadline?.cancel() }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        answer.wait(continuation)
        send(call, answer)
      }
    } onCancel: {
      answer.give(.failure(.cancelled))
    }
  }

  private func send(_ call: Call, _ answer: PendingResponse) {
    open().whenComplete { result in
      switch result {
      case .success(let channel):
        channel.writeAndFlush(ClientHandler.Ticket(call: call, answer: answer)).whenFailure { error in
          answer.give(.failure(.connectionLost("the connection to \(self.address) was lost: \(error.inWords)")))
        }
      case .failure(let error):
        answer.give(.failure(.connectionLost("no connection to \(self.address): \(error.inWords)")))
      }
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

  /// The connection, opened where there is none; calls that come meanwhile share it.
  private func open() -> EventLoopFuture<any Channel> {
    enum Step {
      case use(EventLoopFuture<any Channel>)
      case connect(EventLoopPromise<any Channel>)
    }
    let step: Step = state.withLock { state in
      switch state {
      case .open(let channel) where channel.isActive: return .use(channel.eventLoop.makeSucceededFuture(channel))
      case .opening(let future): return .use(future)
      case .open, .closed:
        let promise = group.any().makePromise(of: (any Channel).self)
        state = .opening(promise.futureResult)
        return .connect(promise)
      }
    }
    switch step {
    case .use(let future): return future
    case .connect(let promise):
      connect().whenComplete { result in
        self.state.withLock { $0 = (try? result.get()).map(State.open) ?? .closed }
        promise.completeWith(result)
      }
      return promise.futureResult
    }
  }

  private func connect() -> EventLoopFuture<any Channel> {
    let bootstrap = ClientBootstrap(group: group)
      .connectTimeout(TimeAmount(timeout))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(ClientHandler(to: self.address))
        }
      }
    switch address {
    case .unix(let path): return bootstrap.connect(unixDomainSocketPath: path)
    case .tcp(let host, let port):
      return bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1).connect(host: host, port: port)
    }
  }
}

/// The answer to a call, given once: by the server, the deadline, the caller's change of mind or the
/// connection's end, whichever comes first.
final class PendingResponse: Sendable {
  private enum State {
    case pending
    case waited(CheckedContinuation<Reply, Never>)
    case given(Reply)
  }

  private let state = Mutex(State.pending)

  func wait(_ continuation: CheckedContinuation<Reply, Never>) {
    let given: Reply? = state.withLock { state in
      if case .given(let reply) = state { return reply }
      state = .waited(continuation)
      return nil
    }
    if let given { continuation.resume(returning: given) }
  }

  func give(_ reply: Reply) {
    let continuation: CheckedContinuation<Reply, Never>? = state.withLock { state in
      defer { if case .given = state {} else { state = .given(reply) } }
      if case .waited(let continuation) = state { return continuation }
      return nil
    }
    continuation?.resume(returning: reply)
  }

  var isGiven: Bool {
    state.withLock { if case .given = $0 { true } else { false } }
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
    var answer: PendingResponse
  }

  private let address: Address
  private var session = ClientSession()
  private var waiting: [UInt32: PendingResponse] = [:]
  private var sweepCount = 1024

  init(to address: Address) {
    self.address = address
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let ticket = unwrapOutboundIn(data)
    guard !ticket.answer.isGiven else {
      promise?.succeed()
      return
    }
    do throws(RPCError) {
      let (stream, frame) = try session.open(ticket.call)
      // Answers that nobody waits for any more, and that never came, must not pile up.
      if waiting.count >= sweepCount {
        waiting = waiting.filter { !$0.value.isGiven }
        sweepCount = max(1024, 2 * waiting.count)
      }
      waiting[stream] = ticket.answer
      context.write(wrapOutboundOut(ByteBuffer(bytes: frame)), promise: promise)
      // The next call opens another connection.
      if session.isExhausted { context.close(promise: nil) }
    } catch {
      ticket.answer.give(.failure(error))
      promise?.succeed()
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    unwrapInboundIn(data).withUnsafeReadableBytes { session.receive($0) }
    while let event = session.next() {
      switch event {
      case .reply(let reply, let stream): finish(stream, reply)
      case .fatal(var error):
        error.message = "\(address): \(error.message)"
        failAll(error)
        context.close(promise: nil)
        return
      }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    failAll(.connectionLost("the server at \(address) closed the connection"))
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    failAll(.connectionLost("the connection to \(address) was lost: \(error.inWords)"))
    context.close(promise: nil)
  }

  private func finish(_ stream: UInt32, _ reply: Reply) {
    waiting.removeValue(forKey: stream)?.give(reply)
  }

  private func failAll(_ error: RPCError) {
    for stream in Array(waiting.keys) { finish(stream, .failure(error)) }
  }
}

extension Error {
  /// Without the names of NIO's types.
  fileprivate var inWords: String {
    switch self {
    case let error as IOError: String(cString: strerror(error.errnoCode))
    case let error as NIOConnectionError:
      if let refusal = error.connectionErrors.first {
        refusal.error.inWords
      } else {
        "the name \(error.host) leads to no address"
      }
    case let error as ChannelError:
      if case .connectTimeout = error { "nobody answers" } else { "it was closed" }
    default: "\(self)"
    }
  }
}

extension RPCError {
  /// A call whose fate is unknown for want of a connection. Every call is safe to retry.
  static func connectionLost(_ message: String) -> RPCError {
    RPCError(.unavailable, .connectionLost, message)
  }
}
