/// The fields of an encoded protobuf message, read without the code under test.
struct ProtobufFields {
  private var numbers: [UInt64: UInt64] = [:]
  private var values: [UInt64: [[UInt8]]] = [:]

  init(_ bytes: [UInt8]) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let key = try Self.varint(&rest)
      switch key & 7 {
      case 0: numbers[key >> 3] = try Self.varint(&rest)
      case 2:
        let count = Int(try Self.varint(&rest))
        guard rest.count >= count else { throw TestFailure("a protobuf field is cut off") }
        values[key >> 3, default: []].append(Array(rest.prefix(count)))
        rest = rest.dropFirst(count)
      default: throw TestFailure("no answer has a protobuf field of wire type \(key & 7)")
      }
    }
  }

  private static func varint(_ bytes: inout ArraySlice<UInt8>) throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      guard let byte = bytes.popFirst() else { break }
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
    }
    throw TestFailure("a protobuf number is cut off")
  }

  func number(_ field: UInt64) -> UInt64? { numbers[field] }
  func messages(_ field: UInt64) throws -> [ProtobufFields] { try (values[field] ?? []).map { try ProtobufFields($0) } }
  func text(_ field: UInt64) -> String { String(decoding: (values[field] ?? []).joined(), as: UTF8.self) }
  func has(_ field: UInt64) -> Bool { values[field] != nil || numbers[field] != nil }
}

/// What a response frame says of an error, by the numbers in ttrpc.proto and google/rpc.
struct ErrorResponse {
  var code: UInt64?
  var message: String
  var hasPayload: Bool
  /// Of each ErrorInfo.
  var reasons: [String] = []
  var domains: [String] = []
  var metadata: [String: String] = [:]
  /// Of each BadRequest.FieldViolation.
  var fields: [String] = []
  var hasRetryInfo = false

  init(_ data: [UInt8]) throws {
    let response = try ProtobufFields(data)
    guard let status = try response.messages(1).first else { throw TestFailure("the answer is no error") }
    code = status.number(1)
    message = status.text(2)
    hasPayload = response.has(2)
    for detail in try status.messages(3) {
      let value = try detail.messages(2).first ?? ProtobufFields([])
      switch detail.text(1) {
      case "type.googleapis.com/google.rpc.ErrorInfo":
        reasons.append(value.text(1))
        domains.append(value.text(2))
        for entry in try value.messages(3) { metadata[entry.text(1)] = entry.text(2) }
      case "type.googleapis.com/google.rpc.BadRequest":
        fields += try value.messages(1).map { $0.text(1) }
      case "type.googleapis.com/google.rpc.RetryInfo": hasRetryInfo = true
      case let other: throw TestFailure("an unknown detail \(other)")
      }
    }
  }
}
