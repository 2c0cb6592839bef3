import Core
import Glibc
import Messages
import Synchronization
import TestSupport
import Testing

/// A frame as it came.
struct RawFrame {
  var stream: UInt32
  var kind: UInt8
  var data: [UInt8]
}

/// A frame of any content, with a length that may lie.
func frame(
  _ data: [UInt8], stream: UInt32, kind: UInt8 = 1, flags: UInt8 = 0, length: UInt32? = nil
) -> [UInt8] {
  func bigEndian(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
  return bigEndian(length ?? UInt32(data.count)) + bigEndian(stream) + [kind, flags] + data
}

/// A peer that sends any bytes, and waits for what comes back a bounded time.
final class RawConnection {
  struct TimedOut: Error {}
  struct Closed: Error {}
  struct Refused: Error {
    var errno: CInt
  }

  private let descriptor: CInt
  private let chunk = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 65_536)
  private var isOpen = true
  private var received: [UInt8] = []
  private var consumed = 0
  private var nextStream: UInt32 = 1

  init(to address: Address) throws {
    let domain = if case .unix = address { AF_UNIX } else { AF_INET }
    descriptor = socket(domain, CInt(SOCK_STREAM.rawValue), 0)
    precondition(descriptor >= 0, "no descriptor is left for a socket")
    let result =
      switch address {
      case .unix(let path):
        withUnsafePointer(to: unixAddress(path)) { Self.connect(descriptor, $0) }
      case .tcp(_, let port):
        withUnsafePointer(to: loopbackAddress(port)) { Self.connect(descriptor, $0) }
      }
    guard result == 0 else {
      let error = Refused(errno: errno)
      Glibc.close(descriptor)
      throw error
    }
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    var one: CInt = 1
    setsockopt(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<CInt>.size))
  }

  deinit {
    close()
    chunk.deallocate()
  }

  private static func connect<A>(_ descriptor: CInt, _ address: UnsafePointer<A>) -> CInt {
    address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<A>.size))
    }
  }

  // MARK: Bytes

  /// Sends what the socket takes at once.
  func sendSome(_ bytes: ArraySlice<UInt8>) throws -> Int {
    let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
    if count >= 0 { return count }
    guard errno == EAGAIN else { throw Closed() }
    return 0
  }

  func send(_ bytes: [UInt8], within limit: Duration = .seconds(120)) async throws {
    let deadline = ContinuousClock.now + limit
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = try sendSome(rest)
      rest = rest.dropFirst(count)
      if count == 0 { try await pause(until: deadline) }
    }
  }

  func shutDownWriting() {
    shutdown(descriptor, CInt(SHUT_WR))
  }

  func close() {
    if isOpen { Glibc.close(descriptor) }
    isOpen = false
  }

  /// Closes so that the peer gets a reset where the protocol has one (TCP).
  func abort() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    close()
  }

  /// The server has closed the connection. Nothing is read for it.
  var isHungUp: Bool {
    let hungUp: Int16 = 0x2000  // POLLRDHUP
    var source = pollfd(fd: descriptor, events: hungUp, revents: 0)
    return poll(&source, 1, 0) > 0
  }

  /// Reads on; false at the end.
  private func receive(until deadline: ContinuousClock.Instant) async throws -> Bool {
    while true {
      let count = Glibc.read(descriptor, chunk.baseAddress, chunk.count)
      if count > 0 {
        received += chunk[..<count]
        return true
      }
      if count == 0 || errno == ECONNRESET { return false }
      guard errno == EAGAIN || errno == EINTR else { throw Closed() }
      try await pause(until: deadline)
    }
  }

  private func pause(until deadline: ContinuousClock.Instant) async throws {
    guard .now < deadline else { throw TimedOut() }
    try await Task.sleep(for: .milliseconds(1))
  }

  /// All that comes until the server closes.
  func bytesUntilClosed(within limit: Duration = .seconds(120)) async throws -> [UInt8] {
    let deadline = ContinuousClock.now + limit
    while try await receive(until: deadline) {}
    defer { consumed = received.count }
    return Array(received[consumed...])
  }

  /// The server closes, with nothing said before.
  func expectClosed(within limit: Duration = .seconds(120), sourceLocation: SourceLocation = #_sourceLocation) async {
    do {
      let bytes = try await bytesUntilClosed(within: limit)
      #expect(bytes.isEmpty, "something was said before", sourceLocation: sourceLocation)
    } catch {
      Issue.record("not closed: \(error)", sourceLocation: sourceLocation)
    }
  }

  // MARK: Frames

  func nextFrame(within limit: Duration = .seconds(120)) async throws -> RawFrame {
    let deadline = ContinuousClock.now + limit
    func has(_ count: Int) async throws {
      while received.count - consumed < count {
        guard try await receive(until: deadline) else { throw Closed() }
      }
    }
    func integer(_ offset: Int) -> UInt32 {
      received[consumed + offset..<consumed + offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
    try await has(10)
    let length = Int(integer(0))
    try await has(10 + length)
    let frame = RawFrame(
      stream: integer(4), kind: received[consumed + 8], data: Array(received[consumed + 10..<consumed + 10 + length]))
    consumed += 10 + length
    if consumed > 1 << 20 {
      received.removeFirst(consumed)
      consumed = 0
    }
    return frame
  }

  // MARK: Calls

  /// The frame of a call on the next stream.
  func makeFrame(
    _ method: MethodName, _ request: some WireMessage, _ token: String, timeout: Duration? = nil
  ) -> (stream: UInt32, bytes: [UInt8]) {
    let call = Call(
      service: method.service, method: method.name, metadata: .authorized(by: token), timeout: timeout,
      payload: request.encoded())
    return makeFrame(call)
  }

  func makeFrame(_ call: Call) -> (stream: UInt32, bytes: [UInt8]) {
    defer { nextStream += 2 }
    return (nextStream, Envelope.frame(call, stream: nextStream))
  }

  @discardableResult
  func start(
    _ method: MethodName, _ request: some WireMessage, _ token: String, timeout: Duration? = nil
  ) async throws -> UInt32 {
    let (stream, bytes) = makeFrame(method, request, token, timeout: timeout)
    try await send(bytes)
    return stream
  }

  func nextReply(within limit: Duration = .seconds(120)) async throws -> (stream: UInt32, reply: Reply) {
    let frame = try await nextFrame(within: limit)
    try #require(frame.kind == 2)
    return (frame.stream, try Envelope.reply(frame.data))
  }

  /// The reply to a call when no other is under way.
  func reply(
    _ method: MethodName, _ request: some WireMessage, _ token: String, timeout: Duration? = nil
  ) async throws -> Reply {
    let stream = try await start(method, request, token, timeout: timeout)
    let (answered, reply) = try await nextReply()
    try #require(answered == stream)
    return reply
  }

  func reply(to call: Call) async throws -> Reply {
    let (stream, bytes) = makeFrame(call)
    try await send(bytes)
    let (answered, reply) = try await nextReply()
    try #require(answered == stream)
    return reply
  }

  func answer<Answer: WireMessage>(_ method: MethodName, _ request: some WireMessage, _ token: String) async throws
    -> Answer
  {
    try Answer(encoded: try await reply(method, request, token).get())
  }

  /// A call goes all the way to the database and back.
  func expectService(as token: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    do {
      let reply = try await reply(GetInteraction.method, GetInteraction(id: InteractionID(at: .now).description), token)
      #expect(reply.error?.code == .notFound, sourceLocation: sourceLocation)
    } catch {
      Issue.record("a connection does not work: \(error)", sourceLocation: sourceLocation)
      throw error
    }
  }
}

extension Metadata {
  static func authorized(by token: String) -> Metadata {
    var metadata = Metadata()
    metadata.add("authorization", "Bearer \(token)")
    return metadata
  }
}

func unixAddress(_ path: String) -> sockaddr_un {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
  return address
}

func loopbackAddress(_ port: Int) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = UInt16(port).bigEndian
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  return address
}

/// A socket of a program other than the server, bound and perhaps listening.
final class OtherListener: Sendable {
  private let descriptor: CInt
  private let isOpen = Mutex(true)

  init(at address: Address, backlog: CInt = 1) throws {
    func bound<A>(_ domain: CInt, _ address: A) -> CInt {
      let descriptor = socket(domain, CInt(SOCK_STREAM.rawValue), 0)
      let result = withUnsafePointer(to: address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(descriptor, $0, socklen_t(MemoryLayout<A>.size))
        }
      }
      return result == 0 ? descriptor : -1
    }
    descriptor =
      switch address {
      case .unix(let path): bound(AF_UNIX, unixAddress(path))
      case .tcp(_, let port): bound(AF_INET, loopbackAddress(port))
      }
    guard descriptor >= 0, listen(descriptor, backlog) == 0 else { throw TestFailure("cannot listen on \(address)") }
  }

  /// The port the system chose.
  var port: Int {
    var address = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &size) }
    }
    return Int(UInt16(bigEndian: address.sin_port))
  }

  /// As the kernel does for a program that is killed: a socket's file stays.
  func die() {
    isOpen.withLock { isOpen in
      if isOpen { close(descriptor) }
      isOpen = false
    }
  }

  deinit {
    die()
  }
}
