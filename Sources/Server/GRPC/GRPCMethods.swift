public import Domain
import NIOCore
public import Wire

/// The gRPC methods a server has, found by service and name.
public protocol GRPCMethods: Sendable {
  func method(service: String, name: String) -> GRPCMethod?
}

/// A gRPC method, by the shape of its call.
public enum GRPCMethod: Sendable {
  /// One message in, one out: the fast path, which may reply at once.
  case unary(@Sendable (Call) -> CallProgress<Reply>)

  /// One message in, one out, with a say in metadata and compression.
  case unaryWithMetadata(@Sendable (GRPCRequest) async -> GRPCResponse)

  /// Messages in, messages out, each side in its own time. `requestsMax: 1` is server streaming; a
  /// method that sends one message at its end is client streaming.
  case streaming(
    requestsMax: Int = .max,
    @Sendable (GRPCRequestHead, GRPCRequestMessages, GRPCResponseMessages) async -> GRPCResponse)
}

/// A unary request with all that came with it.
public struct GRPCRequest: Sendable {
  public var head: GRPCRequestHead
  public var message: GRPCMessage
}

/// How a call ends.
public struct GRPCResponse: Sendable {
  /// The message of a unary call, or the error. Of a streaming call the message is not sent.
  public var reply: Reply
  /// Sent before the first message.
  public var initialMetadata = Metadata()
  /// Sent after the last.
  public var trailingMetadata = Metadata()
  /// Whether to compress; nil: as the caller compresses, where it is worth it.
  public var compress: Bool?

  public init(_ reply: Reply) {
    self.reply = reply
  }
}

/// The messages of a streaming request, in order. Back-pressure: the peer may send only a window's
/// worth beyond what was taken from here.
public struct GRPCRequestMessages: Sendable {
  let inbox: NIOLoopBound<GRPCInbox>

  /// The next message; nil after the last. One task at a time may wait.
  public func next() async throws(RPCError) -> GRPCMessage? {
    let result = await withCheckedContinuation { continuation in
      inbox.onLoop { $0.next { continuation.resume(returning: $0) } }
    }
    return try result.get()
  }
}

/// Where the messages of a streaming response go.
public struct GRPCResponseMessages: Sendable {
  let outlet: NIOLoopBound<any GRPCOutlet>

  /// To be sent before the first message; to no effect afterwards.
  public func setInitialMetadata(_ metadata: Metadata) {
    outlet.onLoop { $0.setInitialMetadata(metadata) }
  }

  /// Sends a message; returns when the peer's windows have taken it.
  public func send(_ message: [UInt8], compress: Bool? = nil) async throws(RPCError) {
    let result = await withCheckedContinuation { continuation in
      outlet.onLoop { $0.send(message, compress: compress) { continuation.resume(returning: $0) } }
    }
    try result.get()
  }
}

/// The side of a stream that messages leave by. Used on its event loop alone.
protocol GRPCOutlet {
  func setInitialMetadata(_ metadata: Metadata)
  func send(_ message: [UInt8], compress: Bool?, done: @escaping @Sendable (Result<Void, RPCError>) -> Void)
}

extension NIOLoopBound where Value: Any {
  /// Runs `body` on the value's event loop: now, if this is it.
  func onLoop(_ body: @escaping @Sendable (Value) -> Void) {
    if eventLoop.inEventLoop {
      body(value)
    } else {
      eventLoop.execute { body(value) }
    }
  }
}

/// Messages on their way from a connection to the task that takes them. Used on its event loop alone.
final class GRPCInbox {
  typealias Taker = @Sendable (Result<GRPCMessage?, RPCError>) -> Void

  private var messages = CircularBuffer<GRPCMessage>()
  private var end: Result<Void, RPCError>?
  private var taker: Taker?
  /// Called when a message was taken. Must not keep the inbox, nor what keeps it.
  var onTake: () -> Void = {}
  /// Of the messages not yet taken.
  private(set) var bytes = 0

  var isEmpty: Bool { messages.isEmpty }

  func add(_ message: GRPCMessage) {
    if let taker {
      self.taker = nil
      taker(.success(message))
      onTake()
    } else {
      messages.append(message)
      bytes += message.bytes.count
    }
  }

  /// No further message comes: the peer has ended the stream, or it broke.
  func finish(_ result: Result<Void, RPCError>) {
    guard end == nil else { return }
    end = result
    if let taker {
      self.taker = nil
      taker(result.map { nil })
    }
  }

  func next(_ taker: @escaping Taker) {
    if !messages.isEmpty {
      let message = messages.removeFirst()
      bytes -= message.bytes.count
      taker(.success(message))
      onTake()
    } else if let end {
      taker(end.map { nil })
    } else {
      self.taker = taker
    }
  }
}
