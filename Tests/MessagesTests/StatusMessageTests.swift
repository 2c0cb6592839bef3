import Core
import Messages
import TestSupport
import Testing

/// `google.rpc.Status` and its details (google/rpc/status.proto, error_details.proto).
@Suite struct StatusMessageTests {
  @Test func aStatusHasTheFieldNumbersOfTheSchema() throws {
    let error = RPCError(
      .permissionDenied, .scopeMissing, "the token lacks it",
      violations: [.init(field: "id", description: "is bad"), .init(field: "view", description: "is worse")],
      metadata: ["scope": "analytics:view", "a": "b"], retryAfter: .milliseconds(1200))
    let status =
      field(1, varint: 7) + field(2, text: "the token lacks it")
      + detail(
        "ErrorInfo",
        field(1, text: "SCOPE_MISSING") + field(2, text: "parley")
          + field(3, bytes: field(1, text: "a") + field(2, text: "b"))
          + field(3, bytes: field(1, text: "scope") + field(2, text: "analytics:view")))
      + detail(
        "BadRequest",
        field(1, bytes: field(1, text: "id") + field(2, text: "is bad"))
          + field(1, bytes: field(1, text: "view") + field(2, text: "is worse")))
      + detail("RetryInfo", field(1, bytes: field(1, varint: 1) + field(2, varint: 200_000_000)))
    #expect(error.encodedStatus() == status)
    #expect(try read(status) == error)
  }

  @Test func thereIsAlwaysAnErrorInfoAndTheRestWhereItApplies() {
    let plain = RPCError(.cancelled, .callCancelled, "m")
    #expect(
      plain.encodedStatus() == field(1, varint: 1) + field(2, text: "m")
        + detail("ErrorInfo", field(1, text: "CALL_CANCELLED") + field(2, text: "parley")))
  }

  @Test(arguments: RPCError.Code.allCases) func everyCodeComesBack(code: RPCError.Code) throws {
    let error = RPCError(code, .internalError, "m")
    #expect(try read(error.encodedStatus()) == error)
  }

  @Test func anyErrorComesBack() throws {
    var chance = SeededGenerator()
    for _ in 0..<300 {
      let error = chance.error()
      #expect(try read(error.encodedStatus()) == error, "seed \(chance.seed)")
    }
  }

  @Test func theCauseNeverLeavesTheServer() throws {
    let error = RPCError.internal(cause: "password authentication failed")
    let bytes = String(decoding: error.encodedStatus(), as: UTF8.self)
    #expect(bytes.contains("INTERNAL_ERROR"))
    #expect(!bytes.contains("password"))
    #expect(try read(error.encodedStatus())?.cause == nil)
  }

  // MARK: From other servers

  @Test(arguments: [17, 99, -1, Int64(Int32.max), Int64(Int32.min)]) func anUnknownCodeIsUnknown(code: Int64) throws {
    #expect(try read(field(1, varint: code) + field(2, text: "m"))?.code == .unknown)
  }

  @Test func anErrorNeedsNoDetails() throws {
    let error = try read(field(1, varint: 5))
    #expect(error == RPCError(.notFound, RPCError.Reason(rawValue: ""), ""))
  }

  @Test func unknownDetailsAreSkipped() throws {
    let status =
      field(1, varint: 5) + detail("Help", [0xff]) + field(3, bytes: []) + detail("ErrorInfo", field(1, text: "R"))
      + field(3, bytes: field(1, text: "type.example.com/google.rpc.ErrorInfo") + field(2, bytes: [0xff]))
    #expect(try read(status)?.reason == RPCError.Reason(rawValue: "R"))
  }

  @Test(arguments: ["ErrorInfo", "BadRequest", "RetryInfo"]) func aDetailMayBeEmpty(name: String) throws {
    let error = try read(field(1, varint: 5) + detail(name, []))
    #expect(error?.reason.rawValue == "")
    #expect(error?.violations == [])
    #expect(error?.retryAfter == nil)
  }

  @Test(
    arguments: [
      field(2, bytes: [0xff]),
      field(3, bytes: field(1, bytes: [0xff])),
      detail("ErrorInfo", [0xff]),
      detail("ErrorInfo", field(1, bytes: [0xff])),
      detail("ErrorInfo", field(3, bytes: field(2, bytes: [0xff]))),
      detail("BadRequest", field(1, bytes: field(1, bytes: [0xff]))),
      detail("BadRequest", field(1, bytes: field(2, text: "\0"))),
      detail("RetryInfo", [0x0a]),
    ])
  func aStatusThatCannotBeReadIsAnErrorStill(bytes: [UInt8]) {
    #expect(throws: RPCError.self) { _ = try read(field(1, varint: 5) + bytes) }
  }

  @Test func aRetryOfAnyLengthIsRead() throws {
    let delay = field(1, varint: .max) + field(2, varint: Int64(Int32.max))
    let error = try read(field(1, varint: 14) + detail("RetryInfo", field(1, bytes: delay)))
    #expect(error?.retryAfter == .seconds(Int64.max) + .nanoseconds(Int64(Int32.max)))
  }
}

private func detail(_ name: String, _ value: [UInt8]) -> [UInt8] {
  let type = field(1, text: "type.googleapis.com/google.rpc.\(name)")
  return field(3, bytes: type + (value.isEmpty ? [] : field(2, bytes: value)))
}

/// The error a client makes of the status; nil if it makes a response of it.
private func read(_ status: [UInt8]) throws -> RPCError? {
  if case .failure(let error) = try Envelope.reply(field(1, bytes: status)) { error } else { nil }
}
