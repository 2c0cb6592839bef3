import CMessages
public import Core

extension RPCError {
  /// As an encoded `google.rpc.Status`, for gRPC's `grpc-status-details-bin`.
  public func encodedStatus() -> [UInt8] {
    let arena = Arena()
    return arena.encode(.status, arena.status(self))
  }

  /// From a `google.rpc.Status`; nil when it says OK.
  init?(_ status: borrowing Google__Rpc__Status) throws(RPCError) {
    try self.init(
      code: status.code, message: status.message, details: elements(status.n_details, status.details))
  }

  init?(_ error: borrowing Parley__V1__RecordError) throws(RPCError) {
    try self.init(code: error.code, message: error.message, details: elements(error.n_details, error.details))
  }

  private init?(
    code: Int32, message: ProtobufCBinaryData,
    details: some Sequence<UnsafeMutablePointer<Google__Protobuf__Any>>
  ) throws(RPCError) {
    guard code != 0 else { return nil }
    // gRPC: an unknown code is UNKNOWN.
    self.init(
      Code(rawValue: code) ?? .unknown, Reason(rawValue: ""), try text(message, "status.message"))
    for detail in details { try add(detail.pointee) }
  }

  private mutating func add(_ detail: borrowing Google__Protobuf__Any) throws(RPCError) {
    let value = UnsafeRawBufferPointer(start: detail.value.data, count: detail.value.len)
    switch try text(detail.type_url, "status.details") {
    case typeURL(.errorInfo):
      (reason, metadata) = try MessageKind.errorInfo.decode(value) { (info) throws(RPCError) in
        var metadata: [String: String] = [:]
        for entry in elements(info.n_metadata, info.metadata) {
          metadata[String(cString: entry.pointee.key)] = try text(entry.pointee.value, "status.details.metadata")
        }
        return (Reason(rawValue: try text(info.reason, "status.details.reason")), metadata)
      }
    case typeURL(.badRequest):
      violations = try MessageKind.badRequest.decode(value) { (request) throws(RPCError) in
        var violations: [FieldViolation] = []
        for violation in elements(request.n_field_violations, request.field_violations) {
          violations.append(
            FieldViolation(
              field: try text(violation.pointee.field, "status.details.field"),
              description: try text(violation.pointee.description, "status.details.description")))
        }
        return violations
      }
    case typeURL(.retryInfo):
      retryAfter = try MessageKind.retryInfo.decode(value) { (info) throws(RPCError) in
        info.retry_delay.map { .seconds($0.pointee.seconds) + .nanoseconds(Int64($0.pointee.nanos)) }
      }
    default: break  // A detail newer than this client.
    }
  }
}

private func typeURL<M>(_ kind: MessageKind<M>) -> String { "type.googleapis.com/\(kind.name)" }

extension Arena {
  func status(_ error: RPCError) -> UnsafeMutablePointer<Google__Rpc__Status> {
    let status = make(.status)
    status.pointee.code = error.code.rawValue
    status.pointee.message = text(error.message)
    (status.pointee.n_details, status.pointee.details) = details(error)
    return status
  }

  func recordError(_ error: RPCError) -> UnsafeMutablePointer<Parley__V1__RecordError> {
    let message = make(parley__v1__record_error__init)
    message.pointee.code = error.code.rawValue
    message.pointee.message = text(error.message)
    (message.pointee.n_details, message.pointee.details) = details(error)
    return message
  }

  private typealias Details = (Int, UnsafeMutablePointer<UnsafeMutablePointer<Google__Protobuf__Any>?>?)

  private func details(_ error: RPCError) -> Details {
    var details = [any(.errorInfo, errorInfo(error))]
    if !error.violations.isEmpty { details.append(any(.badRequest, badRequest(error.violations))) }
    if let delay = error.retryAfter { details.append(any(.retryInfo, retryInfo(delay))) }
    return array(details) { $0 }
  }

  private func any<M>(
    _ kind: MessageKind<M>, _ message: UnsafePointer<M>
  ) -> UnsafeMutablePointer<Google__Protobuf__Any>? {
    let any = make(google__protobuf__any__init)
    any.pointee.type_url = text(typeURL(kind))
    any.pointee.value = encode(kind, message).withUnsafeBytes { bytes($0) }
    return any
  }

  private func errorInfo(_ error: RPCError) -> UnsafeMutablePointer<Google__Rpc__ErrorInfo> {
    let info = make(.errorInfo)
    info.pointee.reason = text(error.reason.rawValue)
    info.pointee.domain = text(RPCError.domain)
    (info.pointee.n_metadata, info.pointee.metadata) = array(error.metadata.sorted { $0.key < $1.key }) {
      let entry = make(google__rpc__error_info__metadata_entry__init)
      entry.pointee.key = text($0.key + "\0").data.withMemoryRebound(to: CChar.self, capacity: 1) { $0 }
      entry.pointee.value = text($0.value)
      return Optional(entry)
    }
    return info
  }

  private func badRequest(_ violations: [RPCError.FieldViolation]) -> UnsafeMutablePointer<Google__Rpc__BadRequest> {
    let request = make(.badRequest)
    (request.pointee.n_field_violations, request.pointee.field_violations) = array(violations) {
      let violation = make(google__rpc__bad_request__field_violation__init)
      violation.pointee.field = text($0.field)
      violation.pointee.description = text($0.description)
      return Optional(violation)
    }
    return request
  }

  private func retryInfo(_ delay: Duration) -> UnsafeMutablePointer<Google__Rpc__RetryInfo> {
    let info = make(.retryInfo)
    let duration = make(google__protobuf__duration__init)
    let (seconds, attoseconds) = delay.components
    duration.pointee.seconds = seconds
    duration.pointee.nanos = Int32(attoseconds / 1_000_000_000)
    info.pointee.retry_delay = duration
    return info
  }
}
