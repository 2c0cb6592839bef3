import Core
import Messages
import NIOCore

/// Sends calls over one gRPC connection and reads their responses, without a task or a stream object for a call.
final class GRPCLoadConnection: FramedLoadConnection {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// The headers of each operation of each caller, operation by operation.
  static func requests(_ workload: Workload, timeoutSeconds: Int) -> RequestFields {
    RequestFields(
      BenchOperation.allCases.flatMap { operation in
        workload.callers.map { caller in
          [
            (":method", "POST"), (":scheme", "http"), (":path", workload.method(operation).path),
            (":authority", "parley"), ("content-type", "application/grpc"), ("te", "trailers"),
            ("grpc-timeout", "\(timeoutSeconds)S"), ("authorization", "Bearer \(caller.token)"),
          ]
        }
      })
  }

  let driver: LoadDriver
  let ready: EventLoopPromise<NIOLoopBound<any LoadConnection>>
  var calls: CallsInFlight
  var context: ChannelHandlerContext?
  var outgoing = ByteBuffer()
  var incoming = IncomingBytes()
  private let session: GRPCClientSession
  private let callersCount: Int
  private var callsMax: Int
  /// Messages that must be looked into.
  private var messages: [UInt32: [UInt8]] = [:]
  private var isClosing = false

  init(
    _ driver: LoadDriver, _ requests: RequestFields, callsMax: Int,
    _ ready: EventLoopPromise<NIOLoopBound<any LoadConnection>>
  ) {
    self.driver = driver
    self.callsMax = callsMax
    self.ready = ready
    session = GRPCClientSession(requests)
    callersCount = requests.requests.count / BenchOperation.allCases.count
    calls = CallsInFlight(expected: callsMax)
  }

  func channelActive(context: ChannelHandlerContext) {
    session.send(to: &outgoing)
    flush()
    context.fireChannelActive()
  }

  // MARK: Out

  var roomForCalls: Int { !isOpen || !session.takesCalls ? 0 : callsMax - calls.count }

  func send(_ call: OutgoingCall, from source: borrowing CallSource, start: Int64) {
    let request = call.operation.rawValue * callersCount + call.caller
    let stream = session.call(request, messageBytes: call.payloadBytes, to: &outgoing) { source.write(to: $0) }
    guard let stream else {
      driver.failed(.connectionLost("HTTP/2 takes no further call"))
      return close(.connectionLost("HTTP/2 cannot go on: \(session.failure ?? "there are no streams left")"))
    }
    calls.insert(
      .init(stream: UInt32(stream), operation: call.operation, records: Int32(source.recordsInCall), start: start))
    writeIfMuch()
  }

  // MARK: In

  func channelReadComplete(context: ChannelHandlerContext) {
    // What the frames asked for, which no call may carry along.
    session.send(to: &outgoing)
    if outgoing.readableBytes > 0 { flush() }
    driver.proceed(self)
    guard session.isFinished else { return }
    if isClosing, calls.count == 0 { return close(.connectionLost("the server closed the connection")) }
    let why = session.failure.map { ": \($0)" } ?? ""
    close(RPCError(.unknown, .requestMalformed, "the server's answers are no frames of HTTP/2\(why)"))
  }

  func readFrames(_ bytes: UnsafeRawBufferPointer, at now: Int64) -> Int {
    session.receive(bytes) { handle($0, at: now) }
    return bytes.count
  }

  private func handle(_ event: GRPCClientSession.Event, at now: Int64) {
    switch event {
    case .message(let stream, let bytes): receive(UInt32(stream), bytes)
    case .succeeded(let stream): succeed(UInt32(stream), at: now)
    case .failed(let stream, let error): fail(UInt32(stream), error)
    case .closed(let stream, let code): closed(UInt32(stream), code)
    case .settings(let callsMax):
      self.callsMax = min(self.callsMax, callsMax)
      if let context { ready.succeed(NIOLoopBound(self, eventLoop: context.eventLoop)) }
    case .goingAway: isClosing = true
    }
  }

  private func receive(_ stream: UInt32, _ bytes: UnsafeRawBufferPointer) {
    // That a lone record or a get was answered is all there is to know.
    guard let call = calls.call(on: stream), call.operation == .list || call.records > 1 else { return }
    messages[stream, default: []] += bytes
  }

  /// The call's status is OK.
  private func succeed(_ stream: UInt32, at now: Int64) {
    guard let call = calls.remove(stream) else { return }
    guard call.operation == .list || call.records > 1 else {
      return driver.answered(call, records: Int(call.records), at: now)
    }
    let message = messages.removeValue(forKey: stream) ?? []
    let records = message.withUnsafeBytes { bytes in
      ResponseScan.records(
        call.operation, sent: Int(call.records),
        UnsafeRawBufferPointer(rebasing: bytes.dropFirst(GRPCMessageDecoder.prefixBytes)))
    }
    switch records {
    case .success(let count): driver.answered(call, records: count, at: now)
    case .failure(let error): driver.failed(error)
    }
  }

  private func fail(_ stream: UInt32, _ error: RPCError) {
    messages[stream] = nil
    if calls.remove(stream) != nil { driver.failed(error) }
  }

  /// Most streams that are gone were answered before.
  private func closed(_ stream: UInt32, _ code: UInt32) {
    guard calls.call(on: stream) != nil else { return }
    let isRefused = isClosing && code == GRPCClientSession.refusedStream
    fail(
      stream,
      .connectionLost(
        isRefused
          ? "the server went away before it took the call" : "the server reset the stream with HTTP/2's error \(code)"))
  }
}
