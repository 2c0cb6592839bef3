import CMessages
public import Core

/// The envelope inside a ttRPC frame: to a `Call` and from a `Reply` for a server, the other way
/// round for a client.
public enum Envelope {
  /// What a call says beside its request.
  struct Head: Sendable {
    var service = ""
    var method = ""
    var metadata = Metadata()
  }

  /// Reads a request frame's data.
  public static func call(_ data: [UInt8]) throws(RPCError) -> Call {
    var head = Head()
    return try call(data, after: &head)
  }

  /// The same, given the head of the connection's call before, which most calls repeat, and leaving this one's.
  static func call(_ data: [UInt8], after head: inout Head) throws(RPCError) -> Call {
    try MessageKind.ttrpcRequest.decode(data) { (request) throws(RPCError) in
      head.service = try text(request.service, known: head.service, "service")
      head.method = try text(request.method, known: head.method, "method")
      let entries = elements(request.n_metadata, request.metadata)
      let isRepeated = head.metadata.entries.elementsEqual(entries) { known, entry in
        isSame(known.key, entry.pointee.key) && isSame(known.value, entry.pointee.value)
      }
      if !isRepeated { head.metadata = try metadata(entries) }
      return Call(
        service: head.service,
        method: head.method,
        metadata: head.metadata,
        timeout: request.timeout_nano == 0 ? nil : .nanoseconds(request.timeout_nano),
        payload: [UInt8](UnsafeBufferPointer(start: request.payload.data, count: request.payload.len)))
    }
  }

  private static func metadata(
    _ entries: some Collection<UnsafeMutablePointer<Ttrpc__KeyValue>>
  ) throws(RPCError) -> Metadata {
    try Metadata.check(count: entries.count)
    var metadata = Metadata()
    for entry in entries {
      metadata.add(try text(entry.pointee.key, "metadata.key"), try text(entry.pointee.value, "metadata.value"))
    }
    try metadata.checkBytes()
    return metadata
  }

  /// A whole request frame.
  public static func frame(_ call: Call, stream: UInt32) -> [UInt8] {
    let arena = Arena()
    let request = arena.make(.ttrpcRequest)
    request.pointee.service = arena.text(call.service)
    request.pointee.method = arena.text(call.method)
    request.pointee.payload = call.payload.withUnsafeBytes { arena.bytes($0) }
    if let timeout = call.timeout {
      let (seconds, attoseconds) = timeout.components
      let (whole, tooMany) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
      let (nanoseconds, tooFar) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
      // No time left is still a deadline; 0 would say there is none.
      request.pointee.timeout_nano = tooMany || tooFar ? (seconds < 0 ? -1 : .max) : nanoseconds
      if request.pointee.timeout_nano == 0 { request.pointee.timeout_nano = -1 }
    }
    (request.pointee.n_metadata, request.pointee.metadata) = arena.array(call.metadata.entries) {
      let entry = arena.make(ttrpc__key_value__init)
      entry.pointee.key = arena.text($0.key)
      entry.pointee.value = arena.text($0.value)
      return Optional(entry)
    }
    return frame(.ttrpcRequest, request, in: arena, stream: stream, kind: .request)
  }

  /// Reads a response frame's data.
  public static func reply(_ data: [UInt8]) throws(RPCError) -> Reply {
    try MessageKind.ttrpcResponse.decode(data) { (response) throws(RPCError) in
      if let status = response.status, let error = try RPCError(status.pointee) { return .failure(error) }
      return .success([UInt8](UnsafeBufferPointer(start: response.payload.data, count: response.payload.len)))
    }
  }

  /// A whole response frame. Beside an error the payload is empty: containerd's client unmarshals it
  /// before it looks at the status.
  public static func frame(_ reply: Reply, stream: UInt32) -> [UInt8] {
    let arena = Arena()
    let response = arena.make(.ttrpcResponse)
    switch reply {
    case .success(let payload): response.pointee.payload = payload.withUnsafeBytes { arena.bytes($0) }
    case .failure(let error): response.pointee.status = arena.status(error)
    }
    return frame(.ttrpcResponse, response, in: arena, stream: stream, kind: .response)
  }

  /// A whole data frame; nil: without a message.
  public static func frame(_ message: [UInt8]?, stream: UInt32, flags: FrameFlags = []) -> [UInt8] {
    let header = FrameHeader(
      dataBytes: message?.count ?? 0, stream: stream, kind: .data, flags: message == nil ? flags.union(.noData) : flags)
    var frame = [UInt8](repeating: 0, count: FrameHeader.bytes)
    frame.withUnsafeMutableBytes { header.write(to: $0) }
    return frame + (message ?? [])
  }

  private static func frame<M>(
    _ kind: MessageKind<M>, _ message: UnsafePointer<M>, in arena: Arena, stream: UInt32,
    kind frameKind: FrameHeader.Kind
  ) -> [UInt8] {
    arena.encode(kind, message, prefixBytes: FrameHeader.bytes) { bytes, size in
      FrameHeader(dataBytes: size, stream: stream, kind: frameKind).write(to: bytes)
    }
  }
}
