import Domain
import NIOCore
import NIOHPACK
import Wire

/// Sends calls over one gRPC connection and reads their answers, on HTTP/2's frames themselves, without a stream object
/// for a call. A library's HTTP/2 costs more than the service does, and both share the machine.
///
/// It speaks as much of HTTP/2 as unary calls need: RFC 9113 without push, priorities and padding of its own.
final class GRPCLoadConnection: FramedLoadConnection {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// The headers that are the same for many calls.
  struct Requests {
    /// Of each operation, of each caller.
    var headers: [[HPACKHeaders]]

    init(_ workload: Workload, timeoutSeconds: Int) {
      headers = BenchOperation.allCases.map { operation in
        workload.callers.map { caller in
          [
            ":method": "POST", ":scheme": "http",
            ":path": workload.method(operation).path, ":authority": "parley",
            "content-type": "application/grpc", "te": "trailers", "grpc-timeout": "\(timeoutSeconds)S",
            "authorization": "Bearer \(caller.token)",
          ]
        }
      }
    }
  }

  /// No answer is larger, so that only the connection's window has to be given back.
  private static let streamWindowBytes = 2 * Limits.frameBytesMax
  private static let connectionWindowBytes = 64 * 1024 * 1024
  private static let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

  let driver: LoadDriver
  let ready: EventLoopPromise<NIOLoopBound<any LoadConnection>>
  var calls: CallsInFlight
  var context: ChannelHandlerContext?
  var incoming = IncomingBytes()
  private let requests: Requests
  private var callsMax: Int
  private var blocks = HeaderBlocks()
  private var outlet = HTTP2Outlet()
  /// Messages that must be looked into.
  private var messages: [UInt32: [UInt8]] = [:]
  /// A header block that goes on in the next frame.
  private var unfinishedBlock: (stream: UInt32, flags: UInt8, bytes: [UInt8])?
  private var takenBytes = 0
  private var nextStream: UInt32 = 1
  private var isClosing = false

  init(
    _ driver: LoadDriver, _ requests: Requests, callsMax: Int,
    _ ready: EventLoopPromise<NIOLoopBound<any LoadConnection>>
  ) {
    self.driver = driver
    self.requests = requests
    self.callsMax = callsMax
    self.ready = ready
    calls = CallsInFlight(expected: callsMax)
  }

  func channelActive(context: ChannelHandlerContext) {
    outlet.bytes.writeString(Self.preface)
    // ENABLE_PUSH and INITIAL_WINDOW_SIZE.
    outlet.bytes.writeSettings([(2, 0), (4, Self.streamWindowBytes)])
    outlet.bytes.writeWindowUpdate(Self.connectionWindowBytes - 65_535)
    flush()
    context.fireChannelActive()
  }

  // MARK: Out

  var outgoing: ByteBuffer {
    get { outlet.bytes }
    set { outlet.bytes = newValue }
  }
  var roomForCalls: Int {
    !isOpen || isClosing || nextStream > UInt32(Int32.max) - 2 ? 0 : callsMax - calls.count
  }

  func send(_ call: OutgoingCall, from source: borrowing CallSource, start: Int64) {
    let (operation, stream) = (call.operation.rawValue, nextStream)
    nextStream += 2
    calls.insert(
      .init(stream: stream, operation: call.operation, records: Int32(source.recordsInCall), start: start))
    do {
      let number = operation * requests.headers[operation].count + call.caller
      let block = try blocks.encode(requests.headers[operation][call.caller], number: number)
      outlet.sendHeaders(block, stream: stream)
    } catch {
      return close(RPCError(.internal, .internalError, "the request's headers cannot be encoded: \(error)"))
    }
    outlet.sendMessage(bytes: GRPCMessageDecoder.prefixBytes + call.payloadBytes, stream: stream) { target in
      // Not compressed.
      target.storeBytes(of: 0, as: UInt8.self)
      target.storeBytes(of: UInt32(call.payloadBytes).bigEndian, toByteOffset: 1, as: UInt32.self)
      source.write(to: target + GRPCMessageDecoder.prefixBytes)
    }
    writeIfMuch()
  }

  // MARK: In

  func channelReadComplete(context: ChannelHandlerContext) {
    // What the frames asked for, which no call may carry along.
    if outlet.bytes.readableBytes > 0 { flush() }
    driver.proceed(self)
    if isClosing, calls.count == 0 { close(.connectionLost("the server closed the connection")) }
  }

  func readFrames(_ bytes: UnsafeRawBufferPointer, at now: Int64) -> Int {
    var place = 0
    while bytes.count - place >= HTTP2FrameHeader.bytes {
      let header = HTTP2FrameHeader(UnsafeRawBufferPointer(rebasing: bytes[place...]))
      let start = place + HTTP2FrameHeader.bytes
      guard header.length <= 16_384 else {
        close(RPCError(.unknown, .requestMalformed, "the server's answers are no frames of HTTP/2"))
        return bytes.count
      }
      guard bytes.count - start >= header.length else { break }
      read(header, UnsafeRawBufferPointer(rebasing: bytes[start..<start + header.length]), at: now)
      place = start + header.length
    }
    return place
  }

  private func read(_ header: HTTP2FrameHeader, _ content: UnsafeRawBufferPointer, at now: Int64) {
    switch header.kind {
    case .data: receive(header, content)
    case .headers:
      let block = unpadded(header, content, priorityBytes: header.flags & HTTP2FrameHeader.priority == 0 ? 0 : 5)
      if header.flags & HTTP2FrameHeader.endHeaders != 0 {
        receive(block, stream: header.stream, flags: header.flags, at: now)
      } else {
        unfinishedBlock = (header.stream, header.flags, Array(block))
      }
    case .continuation:
      guard var block = unfinishedBlock else { return }
      block.bytes += content
      let isEnd = header.flags & HTTP2FrameHeader.endHeaders != 0
      unfinishedBlock = isEnd ? nil : block
      if isEnd { block.bytes.withUnsafeBytes { receive($0, stream: block.stream, flags: block.flags, at: now) } }
    case .settings where header.flags & HTTP2FrameHeader.acknowledgement == 0: apply(http2Settings(content))
    case .ping where header.flags & HTTP2FrameHeader.acknowledgement == 0:
      outlet.bytes.writeFrame(.ping, length: content.count, flags: HTTP2FrameHeader.acknowledgement) {
        $0.copyMemory(from: content.baseAddress!, byteCount: content.count)
      }
    case .windowUpdate where content.count == 4:
      outlet.widen(header.stream, by: number(content, at: 0))
    case .resetStream where content.count == 4:
      fail(header.stream, .connectionLost("the server reset the stream with HTTP/2's error \(number(content, at: 0))"))
    case .goAway where content.count >= 8: goAway(lastStream: UInt32(number(content, at: 0)))
    default: break
    }
  }

  private func number(_ content: UnsafeRawBufferPointer, at offset: Int) -> Int {
    Int(UInt32(bigEndian: content.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) & 0x7fff_ffff)
  }

  private func unpadded(
    _ header: HTTP2FrameHeader, _ content: UnsafeRawBufferPointer, priorityBytes: Int = 0
  ) -> UnsafeRawBufferPointer {
    let isPadded = header.flags & HTTP2FrameHeader.padded != 0
    let padding = isPadded ? Int(content.first ?? 0) : 0
    return UnsafeRawBufferPointer(rebasing: content.dropFirst((isPadded ? 1 : 0) + priorityBytes).dropLast(padding))
  }

  private func apply(_ settings: [(identifier: UInt16, value: Int)]) {
    for (identifier, value) in settings {
      switch identifier {
      // HEADER_TABLE_SIZE.
      case 1:
        do { try blocks.setEncoderTableBytes(value) } catch { close(.connectionLost("\(error)")) }
      // MAX_CONCURRENT_STREAMS.
      case 3: callsMax = min(callsMax, value)
      // INITIAL_WINDOW_SIZE.
      case 4: outlet.setStreamWindow(value)
      // MAX_FRAME_SIZE.
      case 5: outlet.frameBytesMax = value
      default: break
      }
    }
    outlet.bytes.writeFrame(.settings, length: 0, flags: HTTP2FrameHeader.acknowledgement)
    if let context { ready.succeed(NIOLoopBound(self, eventLoop: context.eventLoop)) }
  }

  private func goAway(lastStream: UInt32) {
    isClosing = true
    for stream in calls.streams where stream > lastStream {
      fail(stream, .connectionLost("the server went away before it took the call"))
    }
  }

  private func fail(_ stream: UInt32, _ error: RPCError) {
    messages[stream] = nil
    outlet.forget(stream)
    if calls.remove(stream) != nil { driver.failed(error) }
  }

  private func receive(_ header: HTTP2FrameHeader, _ content: UnsafeRawBufferPointer) {
    takenBytes += content.count
    if takenBytes > Self.connectionWindowBytes / 2 {
      outlet.bytes.writeWindowUpdate(takenBytes)
      takenBytes = 0
    }
    // That a lone record or a get was answered is all there is to know.
    guard let call = calls.call(on: header.stream), call.operation == .list || call.records > 1 else { return }
    messages[header.stream, default: []] += unpadded(header, content)
  }

  /// A header block: the initial headers, which say nothing, or the trailers.
  private func receive(_ block: UnsafeRawBufferPointer, stream: UInt32, flags: UInt8, at now: Int64) {
    let isEnd = flags & HTTP2FrameHeader.endStream != 0
    if isEnd, blocks.isOK(block) { return end(stream, at: now) }
    do {
      let headers = try blocks.decode(block)
      guard isEnd else { return }
      if headers.first(name: "grpc-status") == "0" {
        end(stream, at: now)
      } else {
        fail(stream, RPCError(grpcTrailers: headers))
      }
    } catch {
      close(RPCError(.unknown, .requestMalformed, "the server's headers cannot be read: \(error)"))
    }
  }

  /// The call's status is OK.
  private func end(_ stream: UInt32, at now: Int64) {
    guard let call = calls.remove(stream) else { return }
    guard call.operation == .list || call.records > 1 else {
      return driver.answered(call, records: Int(call.records), at: now)
    }
    let message = messages.removeValue(forKey: stream) ?? []
    let records = message.withUnsafeBytes { bytes in
      AnswerScan.records(
        call.operation, sent: Int(call.records),
        UnsafeRawBufferPointer(rebasing: bytes.dropFirst(GRPCMessageDecoder.prefixBytes)))
    }
    switch records {
    case .success(let count): driver.answered(call, records: count, at: now)
    case .failure(let error): driver.failed(error)
    }
  }
}
