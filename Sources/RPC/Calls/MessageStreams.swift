public import Core
public import Messages
import NIOCore

/// The messages of a streaming request, in order. Back-pressure: the peer may send only a window's
/// worth beyond what was taken from here.
public struct RequestStream: Sendable {
  let inbox: NIOLoopBound<MessageInbox>

  /// The next message; nil after the last. One task at a time may wait.
  public func next() async throws(RPCError) -> RPCMessage? {
    let result = await withCheckedContinuation { continuation in
      inbox.onLoop { $0.next { continuation.resume(returning: $0) } }
    }
    return try result.get()
  }
}

/// Where the messages of a streaming response go.
public struct ResponseStream: Sendable {
  let outlet: NIOLoopBound<any MessageOutlet>

  /// To be sent before the first message; to no effect afterwards.
  public func setInitialMetadata(_ metadata: Metadata) {
    outlet.onLoop { $0.setInitialMetadata(metadata) }
  }

  /// Sends a message; returns when the peer has room for more.
  public func send(_ message: [UInt8], compress: Bool? = nil) async throws(RPCError) {
    let result = await withCheckedContinuation { continuation in
      outlet.onLoop { $0.send(message, compress: compress) { continuation.resume(returning: $0) } }
    }
    try result.get()
  }
}

/// The side of a stream that messages leave by. Used on its event loop alone.
protocol MessageOutlet {
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
final class MessageInbox {
  typealias Taker = @Sendable (Result<RPCMessage?, RPCError>) -> Void

  private var messages = CircularBuffer<RPCMessage>()
  private var end: Result<Void, RPCError>?
  private var taker: Taker?
  /// Called when a message was taken. Must not keep the inbox, nor what keeps it.
  var onTake: () -> Void = {}
  /// Of the messages not yet taken.
  private(set) var bytes = 0
  /// All that were taken.
  private(set) var takenCount = 0
  private(set) var takenBytes = 0

  func add(_ message: RPCMessage) {
    if let taker {
      self.taker = nil
      tell(taker, message)
    } else {
      messages.append(message)
      bytes += message.bytes.count
    }
  }

  private func tell(_ taker: Taker, _ message: RPCMessage) {
    takenCount += 1
    takenBytes += message.bytes.count
    taker(.success(message))
    onTake()
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

  /// Nobody sends or takes messages any longer.
  func close() {
    onTake = {}
    finish(.failure(.cancelled))
  }

  func next(_ taker: @escaping Taker) {
    if !messages.isEmpty {
      let message = messages.removeFirst()
      bytes -= message.bytes.count
      tell(taker, message)
    } else if let end {
      taker(end.map { nil })
    } else {
      self.taker = taker
    }
  }
}
