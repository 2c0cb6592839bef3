import Core
import Messages
import NIOCore

/// Sends calls over one ttRPC connection and reads their responses, without an allocation for a call.
final class TTRPCLoadConnection: FramedLoadConnection {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// The parts of request envelopes that are the same for many calls.
  struct Envelopes: Sendable {
    /// Of each operation: service = 1, method = 2.
    var heads: [[UInt8]]
    /// Of each caller: timeout_nano = 4, metadata = 5.
    var tails: [[UInt8]]

    init(_ workload: Workload, timeoutSeconds: Int) {
      heads = BenchOperation.allCases.map { operation in
        Self.envelope(
          Call(
            service: MethodName.interactionService, method: workload.method(operation).name, metadata: Metadata(),
            timeout: nil,
            payload: []))
      }
      tails = workload.callers.map { caller in
        var metadata = Metadata()
        metadata.add("authorization", "Bearer \(caller.token)")
        return Self.envelope(
          Call(service: "", method: "", metadata: metadata, timeout: .seconds(timeoutSeconds), payload: []))
      }
    }

    private static func envelope(_ call: Call) -> [UInt8] {
      Array(Envelope.frame(call, stream: 1).dropFirst(FrameHeader.bytes))
    }
  }

  let driver: LoadDriver
  let ready: EventLoopPromise<NIOLoopBound<any LoadConnection>>
  var calls: CallsInFlight
  var context: ChannelHandlerContext?
  var outgoing = ByteBuffer()
  var incoming = IncomingBytes()
  private let envelopes: Envelopes
  private let callsMax: Int
  private var nextStream: UInt32 = 1

  init(
    _ driver: LoadDriver, _ envelopes: Envelopes, callsMax: Int,
    _ ready: EventLoopPromise<NIOLoopBound<any LoadConnection>>
  ) {
    self.driver = driver
    self.envelopes = envelopes
    self.callsMax = callsMax
    self.ready = ready
    calls = CallsInFlight(expected: callsMax)
  }

  func channelActive(context: ChannelHandlerContext) {
    ready.succeed(NIOLoopBound(self, eventLoop: context.eventLoop))
    context.fireChannelActive()
  }

  // MARK: Out

  var roomForCalls: Int { !isOpen || nextStream > UInt32.max - 2 ? 0 : callsMax - calls.count }

  func send(_ call: OutgoingCall, from source: borrowing CallSource, start: Int64) {
    let head = envelopes.heads[call.operation.rawValue]
    let tail = envelopes.tails[call.caller]
    let payloadHead = 1 + varintBytes(call.payloadBytes)
    let data = head.count + payloadHead + call.payloadBytes + tail.count
    outgoing.writeWithUnsafeMutableBytes(minimumWritableBytes: FrameHeader.bytes + data) { buffer in
      var target = buffer.baseAddress!
      target.storeBytes(of: UInt32(data).bigEndian, as: UInt32.self)
      target.storeBytes(of: nextStream.bigEndian, toByteOffset: 4, as: UInt32.self)
      target.storeBytes(of: FrameHeader.Kind.request.rawValue, toByteOffset: 8, as: UInt8.self)
      target.storeBytes(of: 0, toByteOffset: 9, as: UInt8.self)
      target += FrameHeader.bytes
      head.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
      target += head.count
      // payload = 3, length-delimited.
      target.storeBytes(of: 3 << 3 | 2, as: UInt8.self)
      writeVarint(call.payloadBytes, to: target + 1)
      target += payloadHead
      source.write(to: target)
      target += call.payloadBytes
      tail.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
      return FrameHeader.bytes + data
    }
    calls.insert(
      .init(stream: nextStream, operation: call.operation, records: Int32(source.recordsInCall), start: start))
    nextStream += 2
    writeIfMuch()
  }

  // MARK: In

  func channelReadComplete(context: ChannelHandlerContext) { driver.proceed(self) }

  func readFrames(_ bytes: UnsafeRawBufferPointer, at now: Int64) -> Int {
    var place = 0
    while bytes.count - place >= FrameHeader.bytes {
      let count = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self)))
      let stream = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: place + 4, as: UInt32.self))
      let kind = bytes[place + 8]
      guard count <= 2 * Limits.frameBytesMax else {
        close(RPCError(.unknown, .requestMalformed, "the server's answers are no frames of ttRPC"))
        return bytes.count
      }
      let start = place + FrameHeader.bytes
      guard bytes.count - start >= count else { break }
      if kind == FrameHeader.Kind.response.rawValue {
        answer(stream, UnsafeRawBufferPointer(rebasing: bytes[start..<start + count]), at: now)
      }
      place = start + count
    }
    return place
  }

  private func answer(_ stream: UInt32, _ data: UnsafeRawBufferPointer, at now: Int64) {
    guard let call = calls.remove(stream) else { return }
    let records = ResponseScan.payload(ofResponse: data).flatMap {
      ResponseScan.records(call.operation, sent: Int(call.records), $0)
    }
    switch records {
    case .success(let count): driver.answered(call, records: count, at: now)
    case .failure(let error): driver.failed(error)
    }
  }
}

func varintBytes(_ value: Int) -> Int { max((value.bitWidth - value.leadingZeroBitCount + 6) / 7, 1) }

func writeVarint(_ value: Int, to target: UnsafeMutableRawPointer) {
  var (value, target) = (value, target)
  while value >= 0x80 {
    target.storeBytes(of: UInt8(truncatingIfNeeded: value) | 0x80, as: UInt8.self)
    value >>= 7
    target += 1
  }
  target.storeBytes(of: UInt8(value), as: UInt8.self)
}
