import Core
import Testing

@Suite struct RPCErrorTests {
  /// google/rpc/code.proto.
  @Test(
    arguments: [
      (1, "CANCELLED"), (2, "UNKNOWN"), (3, "INVALID_ARGUMENT"), (4, "DEADLINE_EXCEEDED"), (5, "NOT_FOUND"),
      (6, "ALREADY_EXISTS"), (7, "PERMISSION_DENIED"), (8, "RESOURCE_EXHAUSTED"), (9, "FAILED_PRECONDITION"),
      (10, "ABORTED"), (11, "OUT_OF_RANGE"), (12, "UNIMPLEMENTED"), (13, "INTERNAL"), (14, "UNAVAILABLE"),
      (15, "DATA_LOSS"), (16, "UNAUTHENTICATED"),
    ] as [(Int32, String)])
  func codesHaveTheNumbersAndNamesOfGRPC(number: Int32, name: String) {
    #expect(RPCError.Code(rawValue: number)?.name == name)
  }

  @Test func theSetOfCodesIsClosedAndOKIsNone() {
    #expect(RPCError.Code.allCases.map(\.rawValue) == Array(1...16))
    #expect(RPCError.Code(rawValue: 0) == nil)
  }

  @Test func aRefusedFieldIsNamedInTheMessageToo() {
    let error = RPCError.invalid("page_size", "is -1; it cannot be negative")
    #expect(error.code == .invalidArgument)
    #expect(error.reason == .fieldInvalid)
    #expect(error.message == "page_size: is -1; it cannot be negative")
    #expect(error.violations == [.init(field: "page_size", description: "is -1; it cannot be negative")])
  }

  @Test func everyRefusedFieldIsNamedInTheMessage() {
    let error = RPCError.invalid([
      .init(field: "a", description: "is bad"), .init(field: "b", description: "is worse"),
    ])
    #expect(error.message == "a: is bad; b: is worse")
    #expect(error.violations.map(\.field) == ["a", "b"])
  }

  @Test(
    arguments: [
      (.deadlineExceeded, .deadlineExceeded, "DEADLINE_EXCEEDED", nil),
      (.cancelled, .cancelled, "CALL_CANCELLED", nil),
      (.databaseUnavailable(cause: "c"), .unavailable, "DATABASE_UNAVAILABLE", .seconds(1)),
      (.overloaded("too much"), .resourceExhausted, "OVERLOADED", .milliseconds(200)),
      (.draining, .unavailable, "DRAINING", .seconds(1)),
      (.internal(cause: "c"), .internal, "INTERNAL_ERROR", nil),
    ] as [(RPCError, RPCError.Code, String, Duration?)])
  func whatPassesSaysWhenToRetry(error: RPCError, code: RPCError.Code, reason: String, retryAfter: Duration?) {
    #expect(error.code == code)
    #expect(error.reason.rawValue == reason)
    #expect(error.retryAfter == retryAfter)
    #expect(error.violations == [])
  }

  @Test(arguments: [
    RPCError.databaseUnavailable(cause: "password authentication failed"),
    .internal(cause: "password authentication failed"),
  ])
  func theCauseIsKeptForTheLogAndNotToldInTheMessage(error: RPCError) {
    #expect(error.cause == "password authentication failed")
    #expect(!error.message.contains("password"))
  }
}
