import Core
import Messages
import NIOCore

/// A call under way.
struct GRPCCall {
  var running: RunningCall?
  /// Of a streaming request.
  var inbox: MessageInbox?
}

/// Calls: begun, answered, given up.
extension GRPCHandler {
  func run(
    _ stream: StreamID, _ method: Method, _ head: GRPCRequestHead, _ message: RPCMessage, timeout: Duration
  ) {
    guard case .unary(let body) = method.handler else { return }
    let bytes = message.bytes.count + head.metadata.bytes + head.service.utf8.count + head.method.utf8.count
    let call = CallContext(metadata: head.metadata, peer: connection, bytes: bytes)
    let running = runner.run(method, call, timeout: timeout) {
      body($0, message, $1)
    } answer: { [self] in
      answered(stream, $0)
    }
    if let running { calls[stream] = GRPCCall(running: running) }
  }

  func open(_ stream: StreamID, _ method: Method, _ head: GRPCRequestHead) {
    guard let loop = context?.eventLoop, case .streaming(_, let body) = method.handler else { return }
    let inbox = MessageInbox()
    inbox.onTake = { [unowned self, unowned inbox] in
      state.took(on: stream, messages: inbox.takenCount, bytes: inbox.takenBytes)
      proceed()
    }
    let requests = RequestStream(inbox: NIOLoopBound(inbox, eventLoop: loop))
    let outlet = GRPCOutlet(handler: self, stream: stream)
    let responses = ResponseStream(outlet: NIOLoopBound(outlet, eventLoop: loop))
    let call = CallContext(metadata: head.metadata, peer: connection)
    calls[stream] = GRPCCall(inbox: inbox)
    let running = runner.run(method, call, timeout: head.timeout, isBounded: false) { context, completion in
      completion.complete { await body(context, requests, responses) }
    } answer: { [self] in
      answered(stream, $0)
    }
    calls[stream]?.running = running
  }

  private func answered(_ stream: StreamID, _ response: Response) {
    calls.removeValue(forKey: stream)?.inbox?.close()
    state.answered(stream, response)
    proceed()
  }

  /// Nobody waits for the call any longer.
  func cancel(_ stream: StreamID) {
    guard let call = calls.removeValue(forKey: stream) else { return }
    if let running = call.running { runner.cancel(running) }
    call.inbox?.close()
    failSends(of: stream)
  }

  /// The connection is gone.
  func endCalls() {
    for call in calls.values { call.inbox?.close() }
    calls = [:]
    runner.cancelAll()
    for stream in Array(sends.keys) { failSends(of: stream) }
  }

  // MARK: Messages of streaming responses

  /// The peer has taken the next message.
  func taken(on stream: StreamID) {
    guard let place = sends.index(forKey: stream), !sends.values[place].isEmpty else { return }
    sends.values[place].removeFirst()(.success(()))
  }

  func failSends(of stream: StreamID) {
    for done in sends.removeValue(forKey: stream) ?? [] { done(.failure(.cancelled)) }
  }
}

/// Sends the messages of one streaming response.
private struct GRPCOutlet: MessageOutlet {
  let handler: GRPCHandler
  let stream: StreamID

  func setInitialMetadata(_ metadata: Metadata) {
    handler.state.setInitialMetadata(metadata, on: stream)
    handler.proceed()
  }

  func send(_ message: [UInt8], compress: Bool?, done: @escaping @Sendable (Result<Void, RPCError>) -> Void) {
    guard handler.state.send(message, compress: compress, on: stream) else { return done(.failure(.cancelled)) }
    handler.sends[stream, default: []].append(done)
    handler.proceed()
  }
}
