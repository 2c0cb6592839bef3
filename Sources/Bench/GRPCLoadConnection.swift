import Domain
import NIOCore
import NIOHPACK
import NIOHTTP2
import Wire

/// Sends calls over one gRPC connection and reads their answers, on the frames of swift-nio-http2 without a channel for
/// each stream.
final class GRPCLoadConnection: ChannelInboundHandler, LoadConnection {
  typealias InboundIn = HTTP2Frame
  typealias OutboundOut = HTTP2Frame
  typealias Ready = EventLoopPromise<NIOLoopBound<any LoadConnection>>

  /// The headers that are the same for many calls.
  struct Requests {
    /// Of each operation, of each caller.
    var headers: [[HPACKHeaders]]

    init(_ workload: Workload, _ plan: LoadPlan) {
      headers = BenchOperation.allCases.map { operation in
        workload.callers.map { caller in
          [
            ":method": "POST", ":scheme": "http",
            ":path": "/\(Method.service)/\(workload.method(operation).rawValue)", ":authority": "parley",
            "content-type": "application/grpc", "te": "trailers", "grpc-timeout": "\(plan.timeoutSeconds)S",
            "authorization": "Bearer \(caller.token)",
          ]
        }
      }
    }
  }

  /// No answer is larger, so that only the connection's window has to be given back.
  private static let streamWindowBytes = 2 * Limits.frameBytesMax
  private static let connectionWindowBytes = 64 * 1024 * 1024

  private let driver: LoadDriver
  private let requests: Requests
  private let callsMax: Int
  private let ready: Ready
  private var calls: CallsInFlight
  /// Messages that must be looked into.
  private var messages: [UInt32: ByteBuffer] = [:]
  private var nextStream: UInt32 = 1
  private var isClosing = false
  private var context: ChannelHandlerContext?

  init(_ driver: LoadDriver, _ requests: Requests, callsMax: Int, _ ready: Ready) {
    self.driver = driver
    self.requests = requests
    self.callsMax = callsMax
    self.ready = ready
    calls = CallsInFlight(expected: callsMax)
  }

  static func http2Handler() -> NIOHTTP2Handler {
    var connection = NIOHTTP2Handler.ConnectionConfiguration()
    connection.initialSettings = [
      HTTP2Setting(parameter: .enablePush, value: 0),
      HTTP2Setting(parameter: .initialWindowSize, value: streamWindowBytes),
    ]
    // Both ends of the connection are tested elsewhere; here their checks would only cost the server its CPU.
    connection.headerBlockValidation = .disabled
    connection.contentLengthValidation = .disabled
    return NIOHTTP2Handler(
      mode: .client, frameDelegate: nil, connectionConfiguration: connection, streamConfiguration: .init())
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) {
    let increment = Self.connectionWindowBytes - 65_535
    write(.rootStream, .windowUpdate(windowSizeIncrement: increment))
    context.flush()
    context.fireChannelActive()
  }

  // MARK: Out

  var isOpen: Bool { context != nil }
  var roomForCalls: Int { isClosing || nextStream > UInt32(Int32.max) - 2 ? 0 : callsMax - calls.count }
  var callsInFlight: Int { calls.count }

  func send(_ call: OutgoingCall, from source: borrowing CallSource, start: Int64) {
    guard let context else { return }
    let stream = HTTP2StreamID(Int(nextStream))
    let headers = requests.headers[call.operation.rawValue][call.caller]
    write(stream, .headers(.init(headers: headers)))
    let size = GRPCMessageDecoder.prefixBytes + call.payloadBytes
    var message = context.channel.allocator.buffer(capacity: size)
    message.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { buffer in
      let target = buffer.baseAddress!
      target.storeBytes(of: 0, as: UInt8.self)
      target.storeBytes(of: UInt32(call.payloadBytes).bigEndian, toByteOffset: 1, as: UInt32.self)
      source.write(to: target + GRPCMessageDecoder.prefixBytes)
      return size
    }
    write(stream, .data(.init(data: .byteBuffer(message), endStream: true)))
    calls.insert(
      .init(stream: nextStream, operation: call.operation, records: Int32(source.recordsInCall), start: start))
    nextStream += 2
  }

  private func write(_ stream: HTTP2StreamID, _ payload: HTTP2Frame.FramePayload) {
    context?.write(wrapOutboundOut(HTTP2Frame(streamID: stream, payload: payload)), promise: nil)
  }

  func flush() { context?.flush() }
  func close() { context?.close(promise: nil) }

  // MARK: In

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    switch frame.payload {
    case .headers(let headers): if headers.endStream { end(stream(frame), headers.headers) }
    case .data(let data): receive(data, on: stream(frame))
    case .settings(.settings):
      ready.succeed(NIOLoopBound(self, eventLoop: context.eventLoop))
    case .goAway: isClosing = true
    default: break
    }
  }

  private func stream(_ frame: HTTP2Frame) -> UInt32 { UInt32(Int(frame.streamID)) }

  func channelReadComplete(context: ChannelHandlerContext) {
    driver.proceed(self)
    if isClosing, calls.count == 0 { context.close(promise: nil) }
    context.fireChannelReadComplete()
  }

  private func receive(_ data: HTTP2Frame.FramePayload.Data, on stream: UInt32) {
    guard case .byteBuffer(var buffer) = data.data, let call = calls.call(on: stream) else { return }
    // That a lone record or a get was answered is all there is to know.
    guard call.operation == .list || call.records > 1 else { return }
    if messages[stream]?.writeBuffer(&buffer) == nil { messages[stream] = buffer }
  }

  private func end(_ stream: UInt32, _ trailers: HPACKHeaders) {
    guard let call = calls.remove(stream) else { return }
    let message = messages.isEmpty ? nil : messages.removeValue(forKey: stream)
    guard trailers.first(name: "grpc-status") == "0" else { return driver.failed(RPCError(trailers: trailers)) }
    guard let message else {
      return driver.answered(call, records: call.operation == .list ? 0 : Int(call.records), at: LoadDriver.now)
    }
    let records = message.withUnsafeReadableBytes { bytes in
      AnswerScan.records(
        call.operation, sent: Int(call.records),
        UnsafeRawBufferPointer(rebasing: bytes.dropFirst(GRPCMessageDecoder.prefixBytes)))
    }
    switch records {
    case .success(let count): driver.answered(call, records: count, at: LoadDriver.now)
    case .failure(let error): driver.failed(error)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case let event as NIOHTTP2WindowUpdatedEvent:
      if event.streamID == .rootStream, let size = event.inboundWindowSize { replenish(size) }
    case let event as StreamClosedEvent:
      if let reason = event.reason { reset(UInt32(Int(event.streamID)), reason) }
    default: break
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// Opens the connection's window again that has shrunk to its half.
  private func replenish(_ windowBytes: Int) {
    guard windowBytes <= Self.connectionWindowBytes / 2 else { return }
    write(.rootStream, .windowUpdate(windowSizeIncrement: Self.connectionWindowBytes - windowBytes))
    flush()
  }

  private func reset(_ stream: UInt32, _ reason: HTTP2ErrorCode) {
    messages.removeValue(forKey: stream)
    guard calls.remove(stream) != nil else { return }
    driver.failed(RPCError(.unavailable, .connectionLost, "the server reset the stream: \(reason)"))
  }

  func channelInactive(context: ChannelHandlerContext) {
    endAll(.connectionLost("the server closed the connection"))
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    endAll(.connectionLost("\(error)"))
  }

  private func endAll(_ error: RPCError) {
    guard let context else { return }
    self.context = nil
    isClosing = true
    ready.fail(LoadRunner.Failure(description: error.message))
    let lost = calls.removeAll()
    if !lost.isEmpty { driver.failed(error, count: lost.count) }
    context.close(promise: nil)
    driver.lost(self)
  }
}

extension RPCError {
  /// From the trailers of a gRPC call that did not end well.
  fileprivate init(trailers: HPACKHeaders) {
    guard let status = trailers.first(name: "grpc-status") else {
      let http = trailers.first(name: ":status").map { "HTTP status \($0)" } ?? "no status"
      self.init(.unknown, .requestMalformed, "the answer ended with \(http) and without a grpc-status")
      return
    }
    let message = trailers.first(name: "grpc-message") ?? ""
    self.init(Int32(status).flatMap(Code.init(rawValue:)) ?? .unknown, Reason(rawValue: ""), message.percentDecoded)
  }
}

extension String {
  /// gRPC over HTTP2, Status-Message.
  fileprivate var percentDecoded: String {
    var bytes: [UInt8] = []
    var rest = utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%"), let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
      else {
        bytes.append(byte)
        continue
      }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
